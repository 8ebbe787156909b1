"""Gemm and MatMul: fully connected where the right side is a constant matrix, else a batched product."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.layout import Layout
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.ops.activation import BOUNDS, clamp
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.weights import Filter, int8_weights, read_filter

__all__: list[str] = []


def _gemm_in_int8(op: Op) -> bool:
    plain = op.attr("alpha", 1.0) == 1 and op.attr("beta", 1.0) == 1
    return plain and int8_weights(op, axis=0 if op.attr("transB", 0) else 1)


@lowers("Gemm", data=slice(2), fuses=True, int8_if=_gemm_in_int8)
def _gemm(op: Op) -> Operand:
    x = op.operand(0)
    if op.attr("transA", 0):
        x = Operand(x.tensor, x.shape[::-1], x.layout.transposed((1, 0)))
    if op.has(2) and op.constant(2) is not None and op.shape(2)[:-1] not in ((), (1,)):
        op.refuse("its bias is a matrix", "Add it in an operator of its own.")
    filters = read_filter(op, output_axis=0 if op.attr("transB", 0) else 1, bias_index=2)
    alpha, beta = np.float32(op.attr("alpha", 1.0)), np.float32(op.attr("beta", 1.0))
    if (alpha, beta) != (1, 1):
        filters = dataclasses.replace(filters, kernel=filters.kernel * alpha, bias=filters.bias * beta)
    return _fully_connected(op, x, filters)


def _matmul_in_int8(op: Op) -> bool:
    return int8_weights(op, axis=1) if _is_matrix(op) else op.per_tensor


@lowers("MatMul", data=slice(2), fuses=True, int8_if=_matmul_in_int8)
def _matmul(op: Op) -> Operand:
    if min(len(op.shape(0)), len(op.shape(1))) < 2:
        op.refuse("one side of it is a vector", "Give it a second axis (unsqueeze).")
    if op.constant(0) is None and _is_matrix(op):
        return _fully_connected(op, op.operand(0), read_filter(op, output_axis=1, bias_index=2))
    x, flip_x = _matrices(op, 0)
    y, flip_y = _matrices(op, 1)
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY = flip_x, flip_y
    shape = op.output_shape()
    tensor = op.emitter.emit("BATCH_MATMUL", [x.tensor, y.tensor], shape, op.quantiser, options)
    product = Operand(tensor, shape, Layout.of_order(range(len(shape))))
    return clamp(op, product, *BOUNDS[op.activation]) if op.activation in BOUNDS else product


def _matrices(op: Op, index: int) -> tuple[Operand, bool]:
    """An input with its matrices in the last two stored dimensions, and whether they lie there transposed."""
    constant, rank = op.constant(index), len(op.shape(index))
    if constant is not None:
        return op.constant_operand(constant, range(rank)), False
    x = op.operand(index)
    flipped = (*range(rank - 2), rank - 1, rank - 2)
    if op.emitter.order(x) == flipped:
        return x, True
    return op.emitter.arrange(x, range(rank)), False


def _is_matrix(op: Op) -> bool:
    return op.constant(1) is not None and len(op.shape(1)) == 2


def _fully_connected(op: Op, x: Operand, filters: Filter) -> Operand:
    """``x · kernelᵀ + bias`` over the last axis of `x`.

    The axis may be made of several stored dimensions in any order, as behind a Flatten: then the columns of the weights
    are reordered instead of the data.
    """
    stored = op.emitter.stored(x)
    columns = [dim for dim in x.layout.axes[-1] if stored[dim] != 1]
    rows = sorted(dim for dim in x.layout.dims(range(len(x.shape) - 1)) if stored[dim] != 1)
    if rows and columns and max(rows) > min(columns):
        x = op.emitter.arrange(x, range(len(x.shape)))
        return _fully_connected(op, x, filters)
    outputs, depth = filters.kernel.shape
    order = [1 + columns.index(dim) for dim in sorted(columns)]
    kernel = filters.kernel.reshape(outputs, *(stored[dim] for dim in columns)).transpose(0, *order)
    filters = dataclasses.replace(filters, kernel=kernel.reshape(outputs, depth))
    sizes = [stored[dim] for dim in rows]
    y = _product(op, op.emitter.view(x.tensor, [math.prod(sizes), depth]), math.prod(sizes), filters)
    place = {dim: index for index, dim in enumerate(rows)}
    axes = [tuple(place[dim] for dim in dims if dim in place) for dims in x.layout.axes[:-1]]
    y = op.emitter.view(y, [*sizes, outputs])
    return Operand(y, (*x.shape[:-1], outputs), Layout((*axes, (len(sizes),))))


def _product(op: Op, x: int, rows: int, filters: Filter) -> int:
    """The tensor [rows, outputs] of ``x · kernelᵀ + bias``."""
    outputs, depth = filters.kernel.shape
    if filters.scales is None or len(filters.scales) == 1:
        inputs = [x, filters.kernel_tensor(op, (0, 1)), filters.bias_tensor(op)]
        options = op.fused(schema.FullyConnectedOptionsT())
        return op.emitter.emit("FULLY_CONNECTED", inputs, (rows, outputs), op.quantiser, options)
    # Older runtimes know one scale for each channel in convolutions only: the same product, one row a pixel.
    pixels = op.emitter.view(x, [1, rows, 1, depth])
    filters = dataclasses.replace(filters, kernel=filters.kernel.reshape(outputs, 1, 1, depth))
    inputs = [pixels, filters.kernel_tensor(op, (0, 1, 2, 3)), filters.bias_tensor(op)]
    options = op.fused(schema.Conv2DOptionsT())
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    return op.emitter.view(
        op.emitter.emit("CONV_2D", inputs, (1, rows, 1, outputs), op.quantiser, options), [rows, outputs]
    )
