"""The twins of a Q/DQ graph: ONNX Runtime on x86 fuses Mul, Concat and MaxPool only with uint8, others take int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value

__all__ = ["to_int8", "to_uint8"]

_SHIFT = 128


def to_uint8(model: ir.Model) -> ir.Model:
    """A copy of `model` with uint8 activations and constant operands: the same values, every integer plus 128.

    Weights stay int8 and biases int32. The floats that either graph computes are the same bit for bit.
    """
    return _shifted(model, np.dtype(np.int8), np.dtype(np.uint8), ir.DataType.UINT8)


def to_int8(model: ir.Model) -> ir.Model:
    """The inverse of `to_uint8`; a graph that has int8 activations already is copied as it is."""
    return _shifted(model, np.dtype(np.uint8), np.dtype(np.int8), ir.DataType.INT8)


def _shifted(model: ir.Model, old: np.dtype[Any], new: np.dtype[Any], kind: ir.DataType) -> ir.Model:
    twin, shift = model.clone(), _SHIFT if old == np.int8 else -_SHIFT
    for node in twin.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or not _has_scalar_scale(node):
            continue
        for value in (node.inputs[2], node.inputs[0]):
            integers = constant_value(value)
            if value is not None and integers is not None and integers.dtype == old:
                value.const_value = ir.tensor((integers.astype(np.int16) + shift).astype(new), name=value.name)
                value.type = ir.TensorType(kind)
        if node.op_type == "QuantizeLinear":
            node.outputs[0].type = ir.TensorType(kind)
    return twin


def _has_scalar_scale(node: ir.Node) -> bool:
    """Whether a quantiser is one of activations or constant operands: weights and biases have one scale per channel."""
    scale = constant_value(node.inputs[1])
    return scale is not None and scale.ndim == 0
