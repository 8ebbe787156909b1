"""How the axes of an ONNX value lie in the memory of a TFLite tensor.

Layouts make transposition lazy.  An ONNX Transpose, Squeeze, Unsqueeze or regrouping Reshape only changes the
bookkeeping; data move when an operator needs the axes in an order of its own, and often none ever does: NHWC attention
blocks, Flatten in front of a fully connected layer, group normalisation all come out without a transpose.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

__all__ = ["Layout", "Shape", "default_order", "regroup"]

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """``axes[a]`` lists the stored dimensions that make up ONNX axis `a`, major to minor.

    Every stored dimension larger than 1 belongs to exactly one axis; those of size 1 may belong to none, and an axis of
    size 1 may have none.
    """

    axes: tuple[tuple[int, ...], ...]

    @classmethod
    def of_order(cls, order: Sequence[int]) -> Layout:
        """One dimension for each axis; dimension ``i`` stores axis ``order[i]``."""
        return cls(tuple((list(order).index(axis),) for axis in range(len(order))))

    def transposed(self, permutation: Sequence[int]) -> Layout:
        """Layout after an ONNX Transpose: new axis ``i`` is the old axis ``permutation[i]``."""
        return Layout(tuple(self.axes[axis] for axis in permutation))

    def order(self, rank: int) -> tuple[int, ...] | None:
        """Order of the ONNX axes in memory if each of the `rank` stored dimensions is one axis, else None."""
        if any(len(dims) != 1 for dims in self.axes) or len(self.axes) != rank:
            return None
        return tuple(sorted(range(rank), key=lambda axis: self.axes[axis][0]))

    def dims(self, axes: Iterable[int]) -> tuple[int, ...]:
        """Stored dimensions of several ONNX axes, in the order of the axes."""
        return tuple(dim for axis in axes for dim in self.axes[axis])

    def without(self, removed: Sequence[int]) -> Layout:
        """Layout after axes are dropped together with the dimensions that store them."""
        gone = self.dims(removed)
        kept = [dims for axis, dims in enumerate(self.axes) if axis not in removed]
        return Layout(tuple(tuple(dim - sum(other < dim for other in gone) for dim in dims) for dims in kept))


def default_order(rank: int) -> tuple[int, ...]:
    """NHWC for rank 4, the axes as they come for every other rank."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


def regroup(layout: Layout, stored: Shape, shape: Shape) -> tuple[Layout, Shape] | None:
    """Read the same data, in the same order of the ONNX axes, as a value of `shape`.

    Returns:
        the layout and the stored shape: dimensions may be split (which moves nothing), so it can differ from `stored`;
        None when an axis of `shape` would need half of one dimension and half of another that is not beside it.
    """
    parts: list[list[int]] = [[] for _ in stored]
    queue = [(dim, stored[dim]) for dims in layout.axes for dim in dims if stored[dim] != 1]
    groups: list[list[tuple[int, int]]] = []
    for size in shape:
        group: list[tuple[int, int]] = []
        wanted = size
        while wanted > 1:
            if not queue:
                return None
            dim, available = queue.pop(0)
            taken = math.gcd(wanted, available)
            if taken != min(wanted, available):
                return None
            group.append((dim, len(parts[dim])))
            parts[dim].append(taken)
            wanted //= taken
            if available > taken:
                queue.insert(0, (dim, available // taken))
        groups.append(group)
    if queue:
        return None
    start: list[int] = []
    new_stored: list[int] = []
    for dim, split in enumerate(parts):
        start.append(len(new_stored))
        new_stored.extend(split or [stored[dim]])
    return Layout(tuple(tuple(start[dim] + part for dim, part in group) for group in groups)), tuple(new_stored)
