"""How separable a filter is, and the best sum of separable ones: the singular value decomposition of its matrix.

A filter ``k[i, j] = sum_r cols[r, i] * rows[r, j]`` of R terms is R pairs of one-dimensional filters.  Truncating the
decomposition is the best approximation of R terms in the least squares sense (Eckart and Young 1936).  Only filters
that separate along the image's axes have few terms: an anisotropic Gaussian does at 0 and 90 degrees, not at 45.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError

__all__ = [
    "Separability",
    "denoise_rank",
    "energy_curve",
    "is_separable",
    "low_rank",
    "rank_for",
    "reconstruct",
    "separability",
]

Array = npt.NDArray[np.float64]
_TOLERANCE = 1e-10  # of the largest singular value: below it is rounding
_POWERS = {"sigma": 1, "energy": 2}


@dataclasses.dataclass(frozen=True)
class Separability:
    """`ratio` is the second singular value over the first (0: separable), `rank` the number above the tolerance."""

    ratio: float
    rank: int


def separability(kernel: npt.ArrayLike, tolerance: float = _TOLERANCE) -> Separability:
    """How far a filter is from one pair of one-dimensional filters; `tolerance` is relative to the first value.

    Raises:
        UsageError: no matrix, not finite, or zero everywhere.
    """
    sigma = _values(kernel)
    ratio = float(sigma[1] / sigma[0]) if len(sigma) > 1 else 0.0
    return Separability(ratio, int(np.sum(sigma > tolerance * sigma[0])))


def is_separable(kernel: npt.ArrayLike, tolerance: float = _TOLERANCE) -> bool:
    """Whether one pair of one-dimensional filters makes the filter."""
    return separability(kernel, tolerance).rank == 1


def low_rank(kernel: npt.ArrayLike, rank: int) -> tuple[Array, Array]:
    """The best `rank` pairs: columns (rank, M) and rows (rank, N), each carrying the root of its singular value.

    The sign that the decomposition leaves free is chosen so that of each pair the vector with the larger sum in
    magnitude has a positive sum.

    Raises:
        UsageError: the rank is not between 1 and min(M, N), or the kernel cannot be used.
    """
    matrix = _matrix(kernel)
    if not 1 <= rank <= min(matrix.shape):
        raise UsageError(f"Rank {rank} was asked for; a {_size(matrix)} filter has ranks 1 to {min(matrix.shape)}.")
    u, sigma, vh = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(sigma[:rank])[:, None]
    cols, rows = root * u[:, :rank].T, root * vh[:rank]
    sums = cols.sum(1), rows.sum(1)
    larger = np.where(np.abs(sums[0]) >= np.abs(sums[1]), *sums)
    sign = np.where(larger < 0, -1.0, 1.0)[:, None]
    return np.asarray(cols * sign, np.float64), np.asarray(rows * sign, np.float64)


def reconstruct(cols: npt.ArrayLike, rows: npt.ArrayLike) -> Array:
    """The filter that pairs of columns (R, M) and rows (R, N) make, (M, N)."""
    columns, lines = np.asarray(cols, np.float64), np.asarray(rows, np.float64)
    if columns.ndim != 2 or lines.ndim != 2 or len(columns) != len(lines):
        raise UsageError(f"Columns {columns.shape} and rows {lines.shape} are no pairs; expected (R, M) and (R, N).")
    return np.asarray(columns.T @ lines, np.float64)


def energy_curve(kernel: npt.ArrayLike, mode: str = "energy") -> Array:
    """What the first 1, 2, … terms keep, as a share: of the sum of the singular values ("sigma") or of their squares.

    "energy" is one minus the squared relative error; "sigma" is what blog posts like to quote and is smaller.

    Raises:
        UsageError: an unknown mode, or the kernel cannot be used.
    """
    if mode not in _POWERS:
        raise UsageError(f"No mode is called {mode!r}.", f"There are: {', '.join(_POWERS)}.")
    weights = _values(kernel) ** _POWERS[mode]
    return np.asarray(np.cumsum(weights) / weights.sum(), np.float64)


def rank_for(kernel: npt.ArrayLike, threshold: float, mode: str = "energy") -> int:
    """The smallest number of terms that keeps a share of at least `threshold` (0 to 1).

    Raises:
        UsageError: the threshold is out of its range.
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"A share of {threshold} was asked for; expected more than 0 and at most 1.")
    kept = energy_curve(kernel, mode)
    return int(np.argmax(kept >= threshold - 1e-12)) + 1


def denoise_rank(noisy: npt.ArrayLike, clean: npt.ArrayLike) -> int:
    """The number of terms of `noisy` that is nearest to `clean`: where truncation removes more noise than signal.

    Raises:
        UsageError: the shapes differ.
    """
    given, wanted = _matrix(noisy), _matrix(clean)
    if given.shape != wanted.shape:
        raise UsageError(f"The noisy filter is {_size(given)}, the clean one {_size(wanted)}.")
    u, sigma, vh = np.linalg.svd(given, full_matrices=False)
    # ||clean - sum s u v'||^2 = const + sum (s^2 - 2 s u' clean v): each term counts by itself.
    gains = 2 * sigma * np.einsum("ir,ij,rj->r", u, wanted, vh) - sigma**2
    return int(np.argmax(np.cumsum(gains))) + 1


def _values(kernel: npt.ArrayLike) -> Array:
    sigma = np.linalg.svd(_matrix(kernel), compute_uv=False)
    if sigma[0] == 0:
        raise UsageError("The filter is zero everywhere; it has no singular direction.")
    return np.asarray(sigma, np.float64)


def _matrix(kernel: npt.ArrayLike) -> Array:
    matrix = np.asarray(kernel, np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UsageError(f"A filter is a matrix; found shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise UsageError("The filter has values that are not finite.")
    return matrix


def _size(matrix: Array) -> str:
    return " x ".join(map(str, matrix.shape))
