"""Int8 convolutions of few channels, spelled so that the lanes of a kernel do not idle.

XNNPACK's int8 kernels compute 16 output channels at a time, each step of them on 8 input channels (4 on ARM), and fill
what is not there with zeros: a convolution from or to a handful of channels mostly multiplies zeros. In NHWC the
columns of an image and its channels are one axis, so neighbouring columns can stand in for channels at the price of a
RESHAPE. Three spellings, each of the same integers:

* `_Dense.several_columns`: the outputs of k neighbouring columns as k C output channels of one wider window.
* `_Dense.joined_columns`: the s columns that a stride of s steps over as s C input channels of one narrower window.
* `_Patches`: what a block of 2x2 outputs reads, copied as channels by a convolution with ones; a 1x1 convolution
  computes the block from it and DEPTH_TO_SPACE lays it out.

Which one is taken says a count of products, zeros included.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.tensors import Quantiser
from edgeconv.export.tflite.weights import Filter
from edgeconv.export.tflite.window import Pair, Window, convolution_options, padded

__all__ = ["convolve"]

_LANES, _DEPTH = 16, 8
# Costs of one value in products: bringing a sum to int8 and storing it, and moving it in DEPTH_TO_SPACE.
_STORED, _MOVED = 24, 6
_COLUMNS = (2, 4, 8, 16)
_WORTHWHILE = 0.9  # the count is not exact to more than that
_BLOCK = 2


def convolve(op: Op, x: Operand, filters: Filter, window: Window, output: Pair) -> Operand:
    """A convolution of `x`, NHWC, in the spelling that should be the fastest; one with groups as it is.

    Args:
        op: gives the quantiser and the activation of what is written.
        x: (N, C, H, W).
        filters: kernel (O, C / groups, kh, kw).
        window: its geometry.
        output: height and width of what is written.
    """
    plain = _Dense(op, x, filters, window, output, op.quantiser)
    if not op.int8 or filters.kernel.shape[1] != x.shape[1] or window.dilations != (1, 1):
        return plain.emit()
    others: list[_Spelling] = [*plain.spellings(), *_patches(plain)]
    best = min(others, key=lambda spelling: spelling.cost, default=plain)
    return best.emit() if best.cost < _WORTHWHILE * plain.cost else plain.emit()


class _Spelling(Protocol):
    @property
    def cost(self) -> float:
        """Products, and what else takes time as so many of them."""

    def emit(self) -> Operand:
        """Write the operators."""


@dataclasses.dataclass(frozen=True)
class _Dense:
    """One CONV_2D that reads `joined` columns of `x` as one, and whose output is read as `columns` columns for one.

    `fused`: whether it ends in the operator's activation.
    """

    op: Op
    x: Operand
    filters: Filter
    window: Window
    output: Pair
    quantiser: Quantiser | None
    fused: bool = True
    joined: int = 1
    columns: int = 1

    @property
    def cost(self) -> float:
        channels, depth, height, width = self.filters.kernel.shape
        products = height * width * _whole(depth, _DEPTH)
        return float(self.x.shape[0] * math.prod(self.output) * _whole(channels, _LANES) * (products + _STORED))

    def spellings(self) -> Iterator[_Dense]:
        """The other ways to write it as one convolution, where its channels are few."""
        channels, depth = self.filters.kernel.shape[:2]
        for count in _COLUMNS:
            if count * channels < 2 * _LANES and self.output[1] % count == 0:
                yield self.several_columns(count)
        stride = self.window.strides[1]
        if depth < _DEPTH and stride > 1 and self.x.shape[3] % stride == 0:
            yield self.joined_columns()

    def several_columns(self, count: int) -> _Dense:
        """`count` neighbouring columns of the output at once, which share the columns of the input that they read."""
        kernel, (stride_h, stride_w) = self.filters.kernel, self.window.strides
        channels, depth, height, width = kernel.shape
        wide = np.zeros((count, channels, depth, height, width + (count - 1) * stride_w), kernel.dtype)
        for column in range(count):
            wide[column, ..., column * stride_w : column * stride_w + width] = kernel
        return dataclasses.replace(
            self,
            filters=_with_kernel(self.filters, wide.reshape(count * channels, *wide.shape[2:]), count),
            window=_window(wide, (stride_h, count * stride_w), self.window.pads),
            output=(self.output[0], self.output[1] // count),
            columns=count,
        )

    def joined_columns(self) -> _Dense:
        """As many columns of the input as the stride is wide, as channels of one."""
        kernel, (stride_h, stride_w) = self.filters.kernel, self.window.strides
        channels, depth, height, width = kernel.shape
        rows, (left, _) = self.window.pads
        first, last = -left // stride_w, (width - 1 - left) // stride_w
        narrow = np.zeros((channels, stride_w, depth, height, last - first + 1), kernel.dtype)
        for column in range(width):
            place, part = divmod(column - left, stride_w)
            narrow[:, part, ..., place - first] = kernel[..., column]
        narrow = narrow.reshape(channels, stride_w * depth, *narrow.shape[3:])
        return dataclasses.replace(
            self,
            filters=_with_kernel(self.filters, narrow),
            window=_window(narrow, (stride_h, 1), (rows, (-first, 0))),
            joined=stride_w,
        )

    def emit(self) -> Operand:
        op, channels = self.op, len(self.filters.kernel)
        x, padding = padded(op, self._read(), self.window, self.output)
        options = convolution_options(schema.Conv2DOptionsT(), self.window, padding)
        options = op.fused(options) if self.fused else options
        inputs = [x.tensor, self.filters.kernel_tensor(op, (0, 2, 3, 1)), self.filters.bias_tensor(op)]
        stored = (x.shape[0], *self.output, channels)
        tensor = op.emitter.emit("CONV_2D", inputs, stored, self.quantiser, options)
        height, width, channels = self.output[0], self.output[1] * self.columns, channels // self.columns
        tensor = op.emitter.view(tensor, (x.shape[0], height, width, channels))
        return Operand(tensor, (x.shape[0], channels, height, width), NHWC)

    def _read(self) -> Operand:
        batch, channels, height, width = self.x.shape
        channels, width = channels * self.joined, width // self.joined
        tensor = self.op.emitter.view(self.x.tensor, (batch, height, width, channels))
        return Operand(tensor, (batch, channels, height, width), NHWC)


@dataclasses.dataclass(frozen=True)
class _Patches:
    """A convolution with ones that copies patches, one that computes 2x2 outputs of each, DEPTH_TO_SPACE."""

    gather: _Dense
    plain: _Dense

    @property
    def cost(self) -> float:
        return self.gather.cost + self._compute(self.gather.x).cost + _MOVED * self._values

    @property
    def _values(self) -> int:
        return self.plain.x.shape[0] * math.prod(self.plain.output) * len(self.plain.filters.kernel)

    def emit(self) -> Operand:
        op, (height, width) = self.plain.op, self.plain.output
        blocks = self._compute(self.gather.emit()).emit()
        options = schema.DepthToSpaceOptionsT()
        options.blockSize = _BLOCK
        batch, channels = blocks.shape[0], blocks.shape[1] // _BLOCK**2
        stored = (batch, height, width, channels)
        tensor = op.emitter.emit("DEPTH_TO_SPACE", [blocks.tensor], stored, self.plain.quantiser, options)
        return Operand(tensor, (batch, channels, height, width), NHWC)

    def _compute(self, patches: Operand) -> _Dense:
        """Each output of a block as a weighted sum of the patch."""
        kernel = self.plain.filters.kernel
        channels, depth, height, width = kernel.shape
        weights = np.zeros((_BLOCK, _BLOCK, channels, height + 1, width + 1, depth), kernel.dtype)
        for row, column in np.ndindex(_BLOCK, _BLOCK):
            weights[row, column, :, row : row + height, column : column + width] = kernel.transpose(0, 2, 3, 1)
        weights = weights.reshape(_BLOCK**2 * channels, -1, 1, 1)
        return dataclasses.replace(
            self.plain,
            x=patches,
            filters=_with_kernel(self.plain.filters, weights, _BLOCK**2),
            window=_window(weights, (1, 1), ((0, 0), (0, 0))),
            output=self.gather.output,
        )


def _patches(plain: _Dense) -> Iterator[_Patches]:
    """`plain` by patches, where it has few input channels, a stride of 1 and whole blocks."""
    depth, height, width = plain.filters.kernel.shape[1:]
    if depth >= _DEPTH or plain.window.strides != (1, 1) or any(size % _BLOCK for size in plain.output):
        return
    taps = (height + 1) * (width + 1) * depth
    ones = np.eye(taps, dtype=np.int8).reshape(taps, height + 1, width + 1, depth).transpose(0, 3, 1, 2)
    grid = plain.op.emitter.quantiser(plain.x)
    one = np.ones(1, np.float32)
    gather = dataclasses.replace(
        plain,
        filters=Filter(ones, one, np.zeros(taps, np.int32), one * np.float32(grid.scale if grid is not None else 1)),
        window=_window(ones, (_BLOCK, _BLOCK), plain.window.pads),
        output=(plain.output[0] // _BLOCK, plain.output[1] // _BLOCK),
        quantiser=grid,
        fused=False,
    )
    yield _Patches(min([gather, *gather.spellings()], key=lambda spelling: spelling.cost), plain)


def _with_kernel(filters: Filter, kernel: npt.NDArray[Any], repeats: int = 1) -> Filter:
    """`filters` with another kernel, whose output channels are the former ones `repeats` times."""
    scales, bias_scales = (
        np.tile(given, repeats) if given is not None and len(given) > 1 else given
        for given in (filters.scales, filters.bias_scales)
    )
    return Filter(kernel, scales, np.tile(filters.bias, repeats), bias_scales)


def _window(kernel: npt.NDArray[Any], strides: Pair, pads: tuple[Pair, Pair]) -> Window:
    return Window((kernel.shape[-2], kernel.shape[-1]), strides, (1, 1), pads)


def _whole(count: int, unit: int) -> int:
    return -(-count // unit) * unit
