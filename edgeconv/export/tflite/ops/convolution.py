"""Conv: dense, grouped and depthwise, over one or two spatial axes."""

from __future__ import annotations

import dataclasses

from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.weights import int8_weights, read_filter
from edgeconv.export.tflite.window import lift, lift_kernel, lift_size, padded, read_window

__all__: list[str] = []


@lowers("Conv", data=slice(2), fuses=True, int8_if=lambda op: int8_weights(op, axis=0))
def _conv(op: Op) -> Operand:
    x = lift(op, op.operand(0), "a convolution")
    filters = read_filter(op, output_axis=0, bias_index=2)
    window = read_window(op, filters.kernel.shape[2:], op.shape(0)[2:])
    if op.dcr_order is not None:
        filters = filters.reordered(op.dcr_order)
    filters = dataclasses.replace(filters, kernel=lift_kernel(filters.kernel))
    channels, groups = len(filters.kernel), op.attr("group", 1)
    output = lift_size(op.output_shape())
    x, padding = padded(op, x, window, output)
    if groups == x.shape[1] and groups > 1:
        # ONNX has (C·m, 1, kh, kw) and TFLite (1, kh, kw, C·m): output o belongs to input o // m in both.
        code, options = "DEPTHWISE_CONV_2D", schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = channels // groups
        kernel = filters.kernel_tensor(op, (1, 2, 3, 0))
    else:
        # The runtime derives the groups from the input channels of the filter.
        code, options = "CONV_2D", schema.Conv2DOptionsT()
        kernel = filters.kernel_tensor(op, (0, 2, 3, 1))
    options.padding = padding
    options.strideH, options.strideW = window.strides
    options.dilationHFactor, options.dilationWFactor = window.dilations
    inputs = [x.tensor, kernel, filters.bias_tensor(op)]
    stored = (x.shape[0], *output, channels)
    tensor = op.emitter.emit(code, inputs, stored, op.quantiser, op.fused(options))
    return op.emitter.reshape(Operand(tensor, (x.shape[0], channels, *output), NHWC), op.output_shape())
