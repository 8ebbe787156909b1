"""A convolution on groups of neighbouring columns: its window and its constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from edgeconv.export.executor import Array

__all__ = ["ColumnWindow"]

_KERNEL_RANK = 4


@dataclasses.dataclass(frozen=True)
class ColumnWindow:
    """A convolution along a row, on single columns and on groups of them.

    Output column j of a group and tap d read input column ``j + d - before``, which is column ``(…) % columns`` of the
    group ``(…) // columns`` further right.
    """

    columns: int
    before: int
    behind: int

    @property
    def taps(self) -> range:
        """Of single columns: as many as are written are read."""
        return range(self.before + 1 + self.behind)

    @property
    def joined(self) -> tuple[int, int, int]:
        """Width, and padding before and behind it, of the window on groups."""
        first, last = -self.before // self.columns, (self.columns - 1 + self.behind) // self.columns
        return last - first + 1, -first, last

    def join(self, constant: Array) -> Array:
        """OIHW weights, or one value for each channel, for groups: their channels are (column, channel)."""
        return self._wide(constant) if constant.ndim == _KERNEL_RANK else np.tile(constant, self.columns)

    def part(self, constant: Array) -> Array:
        """The inverse, from what the first column of a group gets.

        Raises:
            ValueError: the shape cannot be one for groups.
        """
        if constant.ndim == _KERNEL_RANK:
            return self._narrow(constant)
        return np.asarray(constant.reshape(self.columns, -1)[0])

    def _wide(self, kernel: Array) -> Array:
        outputs, inputs, height, _ = kernel.shape
        width, before, _ = self.joined
        wide = np.zeros((self.columns, outputs, self.columns, inputs, height, width), kernel.dtype)
        for column in range(self.columns):
            for tap in self.taps:
                group, source = divmod(column + tap - self.before, self.columns)
                wide[column, :, source, :, :, group + before] = kernel[..., tap]
        return wide.reshape(self.columns * outputs, self.columns * inputs, height, width)

    def _narrow(self, wide: Array) -> Array:
        outputs, inputs = (size // self.columns for size in wide.shape[:2])
        parts = wide.reshape(self.columns, outputs, self.columns, inputs, *wide.shape[2:])
        taps = [divmod(tap - self.before, self.columns) for tap in self.taps]
        return np.stack([parts[0, :, source, :, :, group + self.joined[1]] for group, source in taps], axis=-1)

    def regroup(self, shape: Sequence[int], *, back: bool) -> list[int]:
        """The NCHW shape of a tensor with its columns joined or, `back`, parted again."""
        batch, channels, height, width = shape
        if back:
            return [batch, channels // self.columns, height, width * self.columns]
        return [batch, channels * self.columns, height, width // self.columns]
