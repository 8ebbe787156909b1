"""ConvTranspose: any stride, pads, output padding, dilation and groups."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.ops.activation import BOUNDS, clamp
from edgeconv.export.tflite.pad import crop
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.weights import int8_weights, read_filter
from edgeconv.export.tflite.window import lift, lift_kernel, lift_size, read_window

__all__: list[str] = []


@lowers("ConvTranspose", data=slice(2), fuses=True, int8_if=lambda op: int8_weights(op, axis=1))
def _conv_transpose(op: Op) -> Operand:
    if op.attr("output_shape") or op.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        op.refuse("its padding follows from output_shape or auto_pad", "Give it explicit pads and output_padding.")
    groups = op.attr("group", 1)
    x = lift(op, op.operand(0), "a transposed convolution")
    filters = read_filter(op, output_axis=1, bias_index=2, repeats=groups)
    window = read_window(op, filters.kernel.shape[2:], op.shape(0)[2:])
    kernel = _dilated(_dense(lift_kernel(filters.kernel), groups), window.dilations)
    size, output = np.array(x.shape[2:]), np.array(lift_size(op.output_shape()))
    strides, begin = np.array(window.strides), np.array([before for before, _ in window.pads])
    # What output_padding adds beyond the reach of the kernel holds the bias: zero taps make the kernel reach that far.
    beyond = np.maximum(begin + output - ((size - 1) * strides + kernel.shape[2:]), 0)
    kernel = np.pad(kernel, [(0, 0), (0, 0), *((0, int(count)) for count in beyond)])
    full = (size - 1) * strides + kernel.shape[2:]
    same = bool(np.all((-(-output // strides) == size) & (begin == (full - output) // 2)))
    written = output if same else full
    options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW = window.strides
    options.padding = schema.Padding.SAME if same and np.any(full != output) else schema.Padding.VALID
    shape = (x.shape[0], len(kernel), int(written[0]), int(written[1]))
    stored = (shape[0], *shape[2:], shape[1])
    inputs = [
        op.emitter.constant(stored, label="shape"),
        dataclasses.replace(filters, kernel=kernel).kernel_tensor(op, (0, 2, 3, 1)),
        x.tensor,
        filters.bias_tensor(op),
    ]
    y = Operand(op.emitter.emit("TRANSPOSE_CONV", inputs, stored, op.quantiser, options), shape, NHWC)
    if not same:
        y = crop(op, y, (0, 0, *begin.tolist()), (*shape[:2], *output.tolist()))
    # The fused activation came with a version of the operator that older runtimes do not have.
    if op.activation in BOUNDS:
        y = clamp(op, y, *BOUNDS[op.activation])
    return op.emitter.reshape(y, op.output_shape())


def _dense(kernel: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """(O/g, I, kh, kw) of a grouped convolution as (O, I, kh, kw) of a dense one, zero between the groups."""
    if groups == 1:
        return kernel
    outputs, inputs = kernel.shape[0], kernel.shape[1] // groups
    dense = np.zeros((outputs * groups, *kernel.shape[1:]), kernel.dtype)
    for group in range(groups):
        columns = slice(group * inputs, (group + 1) * inputs)
        dense[group * outputs : (group + 1) * outputs, columns] = kernel[:, columns]
    return dense


def _dilated(kernel: npt.NDArray[Any], dilations: tuple[int, int]) -> npt.NDArray[Any]:
    """The kernel with zeros between its taps."""
    if dilations == (1, 1):
        return kernel
    (dy, dx), (height, width) = dilations, kernel.shape[2:]
    spread = np.zeros((*kernel.shape[:2], (height - 1) * dy + 1, (width - 1) * dx + 1), kernel.dtype)
    spread[:, :, ::dy, ::dx] = kernel
    return spread
