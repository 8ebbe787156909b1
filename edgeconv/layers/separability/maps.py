"""A stack of maps, such as the constants of a coordinate gate, as sums of separable terms with a known error."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError
from edgeconv.layers.separability.decompose import Array, energy_curve, low_rank, reconstruct

__all__ = ["SeparableMaps", "separate_maps"]


@dataclasses.dataclass(frozen=True)
class SeparableMaps:
    """`columns` (C, R, H) and `rows` (C, R, W) make the maps; `errors` (C) is how far each is from the given one.

    An error is relative: the norm of the difference over that of the map, 0 to 1.  No R separable terms have a smaller
    one (Eckart and Young 1936).
    """

    columns: Array
    rows: Array
    errors: Array

    @property
    def maps(self) -> Array:
        """(C, H, W): what the terms make."""
        return np.stack([reconstruct(c, r) for c, r in zip(self.columns, self.rows, strict=True)])

    @property
    def values(self) -> int:
        """How many numbers the terms are, instead of C H W."""
        return self.columns.size + self.rows.size


def separate_maps(maps: npt.ArrayLike, rank: int) -> SeparableMaps:
    """The best `rank` separable terms of each of (C, H, W) maps.  A map that is zero everywhere has error 0.

    Raises:
        UsageError: no such stack, values that are not finite, or a rank that is not between 1 and min(H, W).
    """
    stack = np.asarray(maps, np.float64)
    if stack.ndim != 3 or 0 in stack.shape:
        raise UsageError(f"Maps are a stack of matrices, (C, H, W); found shape {stack.shape}.")
    terms = [low_rank(matrix, rank) for matrix in stack]
    errors = [np.sqrt(max(1 - energy_curve(m)[rank - 1], 0)) if m.any() else 0.0 for m in stack]
    return SeparableMaps(np.stack([c for c, _ in terms]), np.stack([r for _, r in terms]), np.array(errors))
