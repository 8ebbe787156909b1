"""Feature maps as stacks of matrices, head dimensions by positions of a window, and back.

``b (h d) (g1 p1) (g2 p2) … -> (b h) (g1 g2 …) d (p1 p2 …)``: every window of a grid is a matrix of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError

__all__ = ["Matricise"]


class Matricise(nn.Module):
    """The one reshaping of the local variant, and of the shifted-window one with its cyclic copies.

    Works for two and three spatial axes.  "Global" is one window: `window` equal to `size`.

    Args:
        channels: C, a multiple of `head_dim`.
        size: spatial sizes of the map, multiples of the window's.
        head_dim: d, rows of each matrix.
        window: spatial sizes of the window.
        shifts: for each copy pixels that it is rolled by along every axis; [0] is local, [0, p // 2] shifted windows.

    Raises:
        UsageError: sizes do not divide.
    """

    def __init__(
        self, channels: int, size: Sequence[int], head_dim: int, window: Sequence[int], shifts: Sequence[int] = (0,)
    ) -> None:
        super().__init__()
        if len(size) != len(window) or len(size) not in (2, 3):
            raise UsageError(f"Matricise: size {list(size)} and window {list(window)} must have 2 or 3 axes each.")
        if head_dim < 1 or channels % head_dim:
            raise UsageError(f"Matricise: {channels} channels are no multiple of head_dim {head_dim}.")
        if any(w < 1 or s % w for s, w in zip(size, window, strict=True)):
            raise UsageError(f"Matricise: a map of {list(size)} is no multiple of the window {list(window)}.")
        if not shifts:
            raise UsageError("Matricise: at least one shift is needed; [0] is the plain grid.")
        self.channels, self.head_dim = channels, head_dim
        self.size, self.window, self.shifts = tuple(size), tuple(window), tuple(shifts)

    @property
    def rows(self) -> int:
        """M of each matrix."""
        return self.head_dim

    @property
    def columns(self) -> int:
        """N of each matrix."""
        return math.prod(self.window)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size) to (B * copies * heads, windows, d, positions)."""
        if tuple(x.shape[1:]) != (self.channels, *self.size):
            raise UsageError(f"Matricise: expected [B, {self.channels}, {self.size}], found {list(x.shape)}.")
        axes = tuple(range(2, x.ndim))
        copies = [x if shift == 0 else torch.roll(x, [shift] * len(axes), axes) for shift in self.shifts]
        stacked = copies[0] if len(copies) == 1 else torch.cat(copies)
        n = len(self.size)
        split = [part for s, w in zip(self.size, self.window, strict=True) for part in (s // w, w)]
        grid = stacked.reshape(-1, self.head_dim, *split)
        order = [0, *(2 + 2 * i for i in range(n)), 1, *(3 + 2 * i for i in range(n))]
        return grid.permute(order).reshape(-1, self._windows, self.head_dim, self.columns)

    def inverse(self, matrices: Tensor) -> Tensor:
        """Back to (B, C, *size); the copies are rolled back and averaged."""
        n = len(self.size)
        grids = [s // w for s, w in zip(self.size, self.window, strict=True)]
        split = matrices.reshape(-1, *grids, self.head_dim, *self.window)
        order = [0, 1 + n, *(axis for i in range(n) for axis in (1 + i, 2 + n + i))]
        stacked = split.permute(order).reshape(-1, self.channels, *self.size)
        if self.shifts == (0,):
            return stacked
        batch = stacked.shape[0] // len(self.shifts)
        axes = tuple(range(2, stacked.ndim))
        total = None
        for index, shift in enumerate(self.shifts):
            copy = stacked[index * batch : (index + 1) * batch]
            rolled = copy if shift == 0 else torch.roll(copy, [-shift] * len(axes), axes)
            total = rolled if total is None else total + rolled
        if total is None:
            raise UsageError("Matricise: at least one shift is needed.")
        return total / len(self.shifts)

    @property
    def _windows(self) -> int:
        return math.prod(s // w for s, w in zip(self.size, self.window, strict=True))
