"""Choose the gauge between two convolutions with nothing between them, so that rounding there costs the least."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.rewrite._edit import Array
from edgeconv.rewrite._pass import Equivalence, RewriteResult
from edgeconv.rewrite.equalise_bottlenecks import bottleneck, filled_ranges

__all__ = ["BalanceBottlenecks"]

_REGULARISATION = 1e-8  # relative; keeps directions that carry nothing from being blown up
_CLIPPED = 5e-5  # of the values on either side: the percentile range of the export
_LEVELS, _LARGEST = 255, 127  # steps of the activations' grid, largest integer of a weight
_SPREAD = 8  # channels for each one that the tensor really needs: rounding it then costs 9 dB less than on one
_EVEN = 8  # the rotation of so many channels, and of many multiples, is exactly even
_MIN_GAIN_DB = 1.0  # errors that are alike over a region add up further on, and no estimate at one place sees that


class BalanceBottlenecks:
    """In `Conv -> Conv` replace the tensor z between them by T^-1 z, and undo it behind: (P T)(T^-1 Q) = P Q.

    Rounding z, each channel on its own range, adds ``sum_i |P t_i|^2 range_i^2 / 12`` to the output. Trained factors
    cancel: large correlated channels are subtracted by P, so that this sum exceeds the output's own power many times.
    The T of balanced truncation (B. C. Moore, 1981) makes ``T^-1 S T^-T`` (S: covariance of z) and ``T^T P^T P T`` the
    same diagonal matrix L, and with ranges in proportion to deviations the sum is tr(L^2). Any rotation R behind it
    keeps both equal; one that makes the diagonal of ``R^T L R`` even reaches the least of all gauges, tr(L)^2 /
    channels. It also spreads every channel over all weights and every weight over all channels, so that neither has
    outliers (as in QuIP, J. Chee et al., 2023). R is the product of Hadamard matrices as far as the number of channels
    is even, and of a Hartley matrix for what is left. Where few of many channels are needed, only the largest eight
    times as many are rotated: the weights that read the others stay close to zero, and files small when packed.
    `EqualiseBottlenecks` gives each channel its range afterwards.

    A pair keeps its gauge unless an estimate says that rounding z and P then adds 1 dB less. The estimate is made on
    samples that T was not made of: with fewer positions than channels T would fit what chance left out.

    Args:
        vectors: for each sample an array of positions x channels, by value name; see `draw_vectors`.
    """

    name = "balance_bottlenecks"
    equivalence: Equivalence = "exact"

    def __init__(self, vectors: Mapping[str, Sequence[Array]]) -> None:
        self._vectors = vectors

    def apply(self, model: ir.Model) -> RewriteResult:
        """Change gauges in place; the details name the pairs, and what rounding adds less there."""
        details = []
        for node in list(model.graph):
            pair = bottleneck(node.outputs[0]) if node.outputs else None
            vectors = self._vectors.get(str(node.outputs[0].name)) if pair is not None else None
            if pair is None or not vectors or pair[0].group != 1 or pair[1].group != 1:
                continue
            first, second = pair
            gain_db = _gain_db(vectors, second.weight)
            transformation = _balancing(np.concatenate(vectors), second.weight) if gain_db >= _MIN_GAIN_DB else None
            if transformation is None:
                continue
            inverse = np.linalg.inv(transformation)
            first.weight = np.tensordot(inverse, first.weight, axes=1)
            first.bias = inverse @ first.bias
            second.weight = _behind(second.weight, transformation)
            first.write()
            second.write()
            details.append(f"{node.name}: rounding adds {gain_db:.1f} dB less, by estimate")
        return RewriteResult(len(details), tuple(details))


def _gain_db(vectors: Sequence[Array], weight: Array) -> float:
    """How much less rounding adds in the gauge of every second sample, on the other ones; -inf without such a gauge."""
    transformation, seen = _balancing(np.concatenate(vectors[::2]), weight), np.concatenate(vectors[1::2] or vectors)
    if transformation is None or not seen.any():
        return -np.inf
    before = _rounding_noise(seen, weight)
    after = _rounding_noise(seen @ np.linalg.inv(transformation).T, _behind(weight, transformation))
    return float(10 * np.log10(before / max(after, 1e-300)))


def _balancing(vectors: Array, weight: Array) -> Array | None:
    """The balancing transformation of z, rotated; None where z does not vary or nothing reads it."""
    columns = np.moveaxis(weight, 1, -1).reshape(-1, weight.shape[1])
    centred = vectors - vectors.mean(axis=0)
    matrices = centred.T @ centred / len(vectors), columns.T @ columns
    identity = np.eye(weight.shape[1])
    scales = [float(np.trace(matrix)) / len(matrix) for matrix in matrices]
    if not min(scales) > 0:
        return None
    moments, gramian = (m + _REGULARISATION * scale * identity for m, scale in zip(matrices, scales, strict=True))
    root = np.linalg.cholesky(moments)
    basis, squares, _ = np.linalg.svd(root.T @ gramian @ root)
    diagonal = np.sqrt(squares)
    needed = float(diagonal.sum() ** 2 / squares.sum())  # n for n even channels, 1 where one carries everything
    rotated = min(len(diagonal), _EVEN * math.ceil(_SPREAD * needed / _EVEN))
    balanced: Array = root @ (basis / np.sqrt(diagonal))
    balanced[:, :rotated] = balanced[:, :rotated] @ _rotation(rotated)
    return balanced


def _rotation(channels: int) -> Array:
    """An orthogonal matrix that takes a falling diagonal to an even one; exactly where `channels` is a power of two."""
    odd, rotation = channels, np.ones((1, 1))
    while odd % 2 == 0:
        odd //= 2
        rotation = np.kron(rotation, np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2))
    angles = 2 * np.pi * np.outer(np.arange(odd), np.arange(odd)) / odd
    hartley = (np.cos(angles) + np.sin(angles)) / np.sqrt(odd)
    return np.kron(rotation, hartley)


def _behind(weight: Array, transformation: Array) -> Array:
    """`weight` (outputs, channels, *kernel) that reads T^-1 z instead of z."""
    return np.moveaxis(np.tensordot(weight, transformation, axes=(1, 0)), -1, 1)


def _rounding_noise(vectors: Array, weight: Array) -> float:
    """What rounding z and the weights that read it adds at a position of the output, each error taken as independent.

    Channels fill their ranges, as after `EqualiseBottlenecks`. The bias corrects what the mean of z brings in.
    """
    ranges = filled_ranges(np.abs(vectors).max(axis=0))
    units, read = vectors / ranges, np.moveaxis(weight, 1, -1) * ranges
    low, high = np.quantile(units, [_CLIPPED, 1 - _CLIPPED])
    step = (max(high, 0.0) - min(low, 0.0)) / _LEVELS
    weight_steps = np.abs(read).reshape(len(read), -1).max(axis=1) / _LARGEST
    taps = read[0].size / vectors.shape[1]
    return float(np.square(read).sum() * step**2 + np.square(weight_steps).sum() * taps * units.var(axis=0).sum()) / 12
