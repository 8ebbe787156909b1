"""MaxPool and AveragePool over one or two spatial axes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.graph import Constant
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.ops.elementwise import binary
from edgeconv.export.tflite.pad import constant_pad
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.window import Pair, Window, lift, lift_size, padded, read_window

__all__: list[str] = []


@lowers("MaxPool", data=slice(1))
def _max_pool(op: Op) -> Operand:
    x = lift(op, op.emitter.requantise(op.operand(0), op.quantiser), "a pool")
    window = _window(op)
    # Zero is as good as nothing among what is not negative, and delegates know PAD but not PADV2.
    fill = None if op.emitter.is_non_negative(x) else -math.inf
    x, padding = padded(op, x, window, lift_size(op.output_shape()), fill)
    return op.emitter.reshape(_pool(op, "MAX_POOL_2D", x, window, padding), op.output_shape())


def _averages_in_int8(op: Op) -> bool:
    source = op.input_quantiser(0)
    if source is None or op.quantiser is None or not op.quantiser.covers(source):
        return False
    output = lift_size(op.output_shape())
    return len(op.shape(0)) <= 4 and bool(np.all(_correction(op, _window(op), lift_size(op.shape(0)), output) == 1))


@lowers("AveragePool", data=slice(1), int8_if=_averages_in_int8)
def _average_pool(op: Op) -> Operand:
    x = lift(op, op.emitter.requantise(op.operand(0), op.quantiser), "a pool")
    window, size, output = _window(op), (x.shape[2], x.shape[3]), lift_size(op.output_shape())
    reach = window.reach(size, output)
    if op.attr("count_include_pad", 0) or not window.is_same(size, output):
        # PAD counts what it adds; where ONNX does not, the average is corrected afterwards.
        pads = [(0, 0), (0, 0), *((before, max(after, 0)) for before, after in reach)]
        padding = schema.Padding.VALID
        x = constant_pad(op, x, pads) if any(map(any, pads)) else x
    else:
        padding = schema.Padding.SAME
    y = _pool(op, "AVERAGE_POOL_2D", x, window, padding)
    correction = _correction(op, window, size, output)
    if np.any(correction != 1):
        y = binary(op, "MUL", y, Constant(correction.astype(np.float32)), schema.MulOptionsT())
    return op.emitter.reshape(y, op.output_shape())


def _window(op: Op) -> Window:
    window = read_window(op, op.attr("kernel_shape"), op.shape(0)[2:])
    if window.dilations != (1, 1):
        op.refuse("its window is dilated", "TFLite pools over dense windows only.")
    return window


def _pool(op: Op, code: str, x: Operand, window: Window, padding: int) -> Operand:
    output = lift_size(op.output_shape())
    options = schema.Pool2DOptionsT()
    options.padding = padding
    options.strideH, options.strideW = window.strides
    options.filterHeight, options.filterWidth = window.kernel
    tensor = op.emitter.emit(code, [x.tensor], (x.shape[0], *output, x.shape[1]), op.quantiser, options)
    return Operand(tensor, (x.shape[0], x.shape[1], *output), NHWC)


def _correction(op: Op, window: Window, size: Pair, output: Pair) -> npt.NDArray[np.float64]:
    """What TFLite's average has to be multiplied by at each position, of shape (1, 1, H, W).

    TFLite divides by the entries that are there, explicit padding among them.  ONNX divides by the real entries, or
    with count_include_pad by those within the pads; never by what ceil_mode adds beyond them.
    """
    include = bool(op.attr("count_include_pad", 0))
    same = not include and window.is_same(size, output)
    factors = []
    for length, count, kernel, stride, (before, after) in zip(
        size, output, window.kernel, window.strides, window.pads, strict=True
    ):
        first = np.arange(count) * stride - before
        real = np.minimum(first + kernel, length) - np.maximum(first, 0)
        within = np.minimum(first + kernel, length + after) - first
        factors.append((real if same else np.full(count, kernel)) / (within if include else real))
    correction: npt.NDArray[np.float64] = np.outer(factors[0], factors[1])[None, None]
    return correction
