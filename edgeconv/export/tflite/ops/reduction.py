"""Reductions over any axes, and global pools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.tensors import Quantiser

__all__ = ["reduce"]

_CODES = {"ReduceMax": "REDUCE_MAX", "ReduceMean": "MEAN", "ReduceMin": "REDUCE_MIN", "ReduceSum": "SUM"}


def reduce(
    op: Op, code: str, x: Operand, axes: Sequence[int], keep: bool, quantiser: Quantiser | None = None
) -> Operand:
    """Reduction of `x` over ONNX `axes`, whatever its layout."""
    dims = sorted(x.layout.dims(axes))
    if all(x.shape[axis] == 1 for axis in axes):
        shape = tuple(size for axis, size in enumerate(x.shape) if keep or axis not in axes)
        return op.emitter.reshape(op.emitter.requantise(x, quantiser), shape)
    stored = [1 if dim in dims else size for dim, size in enumerate(op.emitter.stored(x))]
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes)
    layout = x.layout if keep else x.layout.without(axes)
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    inputs = [x.tensor, op.emitter.constant(np.array(dims, np.int32), label="axes")]
    kept = stored if keep else [size for dim, size in enumerate(stored) if dim not in dims]
    return Operand(op.emitter.emit(code, inputs, kept, quantiser, options), shape, layout)


@lowers("ReduceMean", "ReduceSum", data=slice(1))
def _sum_or_mean(op: Op) -> Operand:
    return _reduce_node(op, op.operand(0))


@lowers("ReduceMax", "ReduceMin", data=slice(1))
def _extremum(op: Op) -> Operand:
    return _reduce_node(op, op.emitter.requantise(op.operand(0), op.quantiser))


@lowers("ReduceL2")
def _norm(op: Op) -> Operand:
    x = op.operand(0)
    square = op.emit_like("MUL", x, x.tensor, options=schema.MulOptionsT())
    return op.emit_like("SQRT", reduce(op, "SUM", square, _axes(op, len(x.shape)), _keeps(op)))


@lowers("GlobalAveragePool", data=slice(1))
def _global_average(op: Op) -> Operand:
    x = op.operand(0)
    return reduce(op, "MEAN", x, range(2, len(x.shape)), keep=True, quantiser=op.quantiser)


@lowers("GlobalMaxPool", data=slice(1))
def _global_max(op: Op) -> Operand:
    x = op.emitter.requantise(op.operand(0), op.quantiser)
    return reduce(op, "REDUCE_MAX", x, range(2, len(x.shape)), keep=True, quantiser=op.quantiser)


def _reduce_node(op: Op, x: Operand) -> Operand:
    axes = _axes(op, len(x.shape))
    return reduce(op, _CODES[op.step.op_type], x, axes, _keeps(op), op.quantiser)


def _axes(op: Op, rank: int) -> list[int]:
    axes = op.ints(1, "axes")
    if not axes:
        return [] if op.attr("noop_with_empty_axes", 0) else list(range(rank))
    return [axis % rank for axis in axes]


def _keeps(op: Op) -> bool:
    return bool(op.attr("keepdims", 1))
