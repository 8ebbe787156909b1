"""The uint8 twin of a Q/DQ graph, for ONNX Runtime on x86, which fuses Mul, Concat and MaxPool only with uint8."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value

__all__ = ["to_uint8"]

_SHIFT = 128


def to_uint8(model: ir.Model) -> ir.Model:
    """A copy of `model` with uint8 activations and constant operands: the same values, every integer plus 128.

    Weights stay int8 and biases int32. The floats that either graph computes are the same bit for bit.
    """
    twin = model.clone()
    for node in twin.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or not _has_int8_scalar(node):
            continue
        for value in (node.inputs[2], node.inputs[0]):
            integers = constant_value(value)
            if value is not None and integers is not None and integers.dtype == np.int8:
                value.const_value = ir.tensor((integers.astype(np.int16) + _SHIFT).astype(np.uint8), name=value.name)
                value.type = ir.TensorType(ir.DataType.UINT8)
        if node.op_type == "QuantizeLinear":
            node.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
    return twin


def _has_int8_scalar(node: ir.Node) -> bool:
    """Whether a quantiser is one of activations or constant operands: weights and biases have one scale per channel."""
    scale = constant_value(node.inputs[1])
    return scale is not None and scale.ndim == 0
