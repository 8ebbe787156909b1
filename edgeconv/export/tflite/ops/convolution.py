"""Conv: dense, grouped and depthwise, over one or two spatial axes."""

from __future__ import annotations

import dataclasses

from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.few_channels import convolve
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.weights import Filter, int8_weights, read_filter
from edgeconv.export.tflite.window import (
    Pair,
    Window,
    convolution_options,
    lift,
    lift_kernel,
    lift_size,
    padded,
    read_window,
)

__all__: list[str] = []


@lowers("Conv", data=slice(2), fuses=True, int8_if=lambda op: int8_weights(op, axis=0))
def _conv(op: Op) -> Operand:
    x = lift(op, op.operand(0), "a convolution")
    filters = read_filter(op, output_axis=0, bias_index=2)
    window = read_window(op, filters.kernel.shape[2:], op.shape(0)[2:])
    if op.dcr_order is not None:
        filters = filters.reordered(op.dcr_order)
    filters = dataclasses.replace(filters, kernel=lift_kernel(filters.kernel))
    groups, output = op.attr("group", 1), lift_size(op.output_shape())
    write = _depthwise if groups == x.shape[1] and groups > 1 else convolve
    return op.emitter.reshape(write(op, x, filters, window, output), op.output_shape())


def _depthwise(op: Op, x: Operand, filters: Filter, window: Window, output: Pair) -> Operand:
    # ONNX has (C·m, 1, kh, kw) and TFLite (1, kh, kw, C·m): output o belongs to input o // m in both.
    channels = len(filters.kernel)
    x, padding = padded(op, x, window, output)
    options = convolution_options(schema.DepthwiseConv2DOptionsT(), window, padding)
    options.depthMultiplier = channels // x.shape[1]
    inputs = [x.tensor, filters.kernel_tensor(op, (1, 2, 3, 0)), filters.bias_tensor(op)]
    stored = (x.shape[0], *output, channels)
    tensor = op.emitter.emit("DEPTHWISE_CONV_2D", inputs, stored, op.quantiser, op.fused(options))
    return Operand(tensor, (x.shape[0], channels, *output), NHWC)
