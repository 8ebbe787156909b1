"""Sliding windows: ONNX's attributes read once, one spatial axis lifted to two, and padding as TFLite can say it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.pad import constant_pad

__all__ = ["Pair", "Window", "convolution_options", "lift", "lift_kernel", "lift_size", "padded", "read_window"]

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Window:
    """Geometry of a convolution or a pool, (height, width) each; `pads` are (before, after)."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: tuple[Pair, Pair]

    @property
    def extent(self) -> Pair:
        """Positions that one window spans."""
        (kh, kw), (dh, dw) = self.kernel, self.dilations
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def reach(self, size: Pair, output: Pair) -> tuple[Pair, Pair]:
        """Padding that the windows of an output of this size really touch; negative after: input left unread."""
        ends = zip(output, self.strides, self.extent, size, self.pads, strict=True)
        return tuple(  # type: ignore[return-value]
            (before, (count - 1) * stride + extent - length - before)
            for count, stride, extent, length, (before, _) in ends
        )

    def is_same(self, size: Pair, output: Pair) -> bool:
        """Whether TFLite's SAME pads exactly as this window does: the odd one after, none to spare."""
        for count, stride, length, (before, after) in zip(
            output, self.strides, size, self.reach(size, output), strict=True
        ):
            total = max(before + after, 0)
            if count != -(-length // stride) or before != total // 2:
                return False
        return True


def lift(op: Op, operand: Operand, what: str) -> Operand:
    """An operand with one spatial axis as one of height 1, stored NHWC."""
    if len(operand.shape) == 3:
        batch, channels, length = operand.shape
        operand = op.emitter.reshape(operand, (batch, channels, 1, length))
    if len(operand.shape) != 4:
        op.refuse(f"{what} of {len(operand.shape) - 2} spatial axes", "TFLite has one and two.")
    return op.nhwc(operand)


def read_window(op: Op, kernel: Sequence[int], size: Sequence[int]) -> Window:
    """Window of a node over an input whose spatial axes have `size`."""
    spatial = len(size)
    strides = list(op.attr("strides") or [1] * spatial)
    dilations = list(op.attr("dilations") or [1] * spatial)
    given = list(op.attr("pads") or [0] * 2 * spatial)
    pads = list(zip(given[:spatial], given[spatial:], strict=True))
    mode = op.attr("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
            for length, s, k, d in zip(size, strides, kernel, dilations, strict=True)
        ]
        pads = [(t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
    elif mode == "VALID":
        pads = [(0, 0)] * spatial
    pads = [(0, 0), *pads] if spatial == 1 else pads
    return Window(_pair(kernel), _pair(strides), _pair(dilations), (pads[0], pads[1]))


def padded(op: Op, x: Operand, window: Window, output: Pair, fill: float | None = None) -> tuple[Operand, int]:
    """`x`, NHWC, padded so that TFLite's SAME or VALID reads what the ONNX window reads.

    Args:
        fill: value of explicit padding, None for zero.

    Returns:
        the operand and the code of ``Padding``.
    """
    size = (x.shape[2], x.shape[3])
    reach = window.reach(size, output)
    if all(before == 0 and after <= 0 for before, after in reach):
        return x, schema.Padding.VALID
    if window.is_same(size, output):
        return x, schema.Padding.SAME
    pads = [(0, 0), (0, 0), *((before, max(after, 0)) for before, after in reach)]
    return constant_pad(op, x, pads, fill), schema.Padding.VALID


def convolution_options(options: Any, window: Window, padding: int) -> Any:
    """`options` of a convolution, dense or depthwise, with its window set; `padding` is a code of ``Padding``."""
    options.padding = padding
    options.strideH, options.strideW = window.strides
    options.dilationHFactor, options.dilationWFactor = window.dilations
    return options


def lift_kernel(kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(O, I, k) as (O, I, 1, k); kernels of two spatial axes as they are."""
    return kernel[:, :, None] if kernel.ndim == 3 else kernel


def lift_size(shape: Shape) -> Pair:
    """(height, width) of an ONNX shape with one or two spatial axes."""
    return (1 if len(shape) == 3 else shape[-2], shape[-1])


def _pair(values: Sequence[int]) -> Pair:
    """(height, width) of values for one or two spatial axes."""
    return (1, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))
