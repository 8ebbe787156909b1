"""What each ONNX operator means to the quantiser: whether it has an int8 form, and what its quantisers must be."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.quantize.grid import Grid
from edgeconv.graph import constant_value

__all__ = ["FIXED_OUTPUTS", "OPERATORS", "OperatorRule", "Output", "float_reason", "is_fused_activation", "weight_axis"]


class Output(enum.Enum):
    """Which quantiser the output of an operator gets."""

    OWN = "own"
    SHARED = "shared"  # one quantiser for all data inputs and outputs
    FIXED = "fixed"  # given by the LiteRT 8-bit specification


@dataclasses.dataclass(frozen=True)
class OperatorRule:
    """How an operator with an int8 form is quantised.

    `data_inputs` counts the leading inputs that carry data (None: all of them); the others are shapes, axes, bounds.
    `weighted` operators have per-channel weights in input 1 and a bias in input 2. `fuses` is whether a ReLU behind
    the operator runs in the same integer kernel, without a quantiser in between.
    """

    output: Output = Output.OWN
    data_inputs: int | None = 1
    weighted: bool = False
    fuses: bool = False


_WEIGHTED = OperatorRule(weighted=True, fuses=True)
_BINARY = OperatorRule(data_inputs=2, fuses=True)
_UNARY = OperatorRule()
_SHARED = OperatorRule(Output.SHARED)
_SHARED_ALL = OperatorRule(Output.SHARED, data_inputs=None)

OPERATORS: Mapping[str, OperatorRule] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), _WEIGHTED),
    "MatMul": OperatorRule(data_inputs=2, weighted=True, fuses=True),  # the second input may be an activation
    **dict.fromkeys(("Add", "Sub", "Mul"), _BINARY),
    "PRelu": OperatorRule(data_inputs=2),
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Clip", "HardSwish", "Gelu", "Exp", "GlobalAveragePool", "ReduceMean", "ReduceSum"),
        _UNARY,
    ),
    **dict.fromkeys(("Sigmoid", "Softmax", "Tanh"), OperatorRule(Output.FIXED)),
    **dict.fromkeys(("Concat", "Max", "Min"), _SHARED_ALL),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Resize", "Pad"), _SHARED),
    **dict.fromkeys(("Slice", "Split", "Gather", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"), _SHARED),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _SHARED),
}
"""Every operator with an int8 form; anything else stays in float between a DequantizeLinear and a QuantizeLinear."""

FIXED_OUTPUTS: Mapping[str, Grid] = {
    "Sigmoid": Grid(1 / 256, -128),
    "Softmax": Grid(1 / 256, -128),
    "Tanh": Grid(1 / 128, 0),
}
"""Output quantisers of the LiteRT 8-bit quantisation specification."""


def float_reason(node: ir.Node) -> str:
    """Why `node` stays in float; empty when it has an int8 form."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        return "no int8 form"
    live = [output for output in node.outputs if output.uses() or output.is_graph_output()]
    if not live:
        return "nothing reads it"
    if len(live) > 1 and node.op_type != "Split":
        return "its second output is used"
    if live[0].dtype not in (ir.DataType.FLOAT, None):
        return "computes no floats"
    return _CHECKS[node.op_type](node) if node.op_type in _CHECKS else ""


def weight_axis(node: ir.Node, rank: int) -> int:
    """The axis of output channels in the weights (input 1, of `rank`) of a weighted operator."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if _attribute(node, "transB", 0) else 1
    return rank - 1 if node.op_type == "MatMul" else 0


def is_fused_activation(node: ir.Node) -> bool:
    """Whether `node` can run inside the integer kernel before it: a ReLU, or a Clip to [0, 6]."""
    if node.op_type == "Relu":
        return True
    if node.op_type != "Clip" or len(node.inputs) < 3:
        return False
    low, high = (constant_value(value) for value in node.inputs[1:3])
    return low is not None and high is not None and low.item() == 0 and high.item() == 6


def _constant_weights(node: ir.Node) -> str:
    if constant_value(node.inputs[1]) is None:
        return "its weights are computed at run time"
    if len(node.inputs) > 2 and node.inputs[2] is not None and constant_value(node.inputs[2]) is None:
        return "its bias is computed at run time"
    return ""


def _gemm(node: ir.Node) -> str:
    if _attribute(node, "alpha", 1.0) != 1 or _attribute(node, "beta", 1.0) != 1 or _attribute(node, "transA", 0):
        return "alpha, beta or transA is set"
    reason = _constant_weights(node)
    if reason or len(node.inputs) < 3 or node.inputs[2] is None:
        return reason
    weights, bias = constant_value(node.inputs[1]), constant_value(node.inputs[2])
    if weights is None or bias is None or bias.size not in (1, weights.shape[weight_axis(node, weights.ndim)]):
        return "its bias is not one value for each output"
    return ""


def _matmul(node: ir.Node) -> str:
    weights = constant_value(node.inputs[1])
    return "its weights are a vector" if weights is not None and weights.ndim < 2 else ""


def _resize(node: ir.Node) -> str:
    return "cubic interpolation" if _attribute(node, "mode", "nearest") == "cubic" else ""


def _gather(node: ir.Node) -> str:
    return "" if constant_value(node.inputs[1]) is not None else "its indices are computed at run time"


def _pad(node: ir.Node) -> str:
    fill = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
    return "its fill value is not finite" if fill is not None and not np.isfinite(fill).all() else ""


_CHECKS: Mapping[str, Callable[[ir.Node], str]] = {
    "Conv": _constant_weights,
    "ConvTranspose": _constant_weights,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Resize": _resize,
    "Gather": _gather,
    "Pad": _pad,
}


def _attribute(node: ir.Node, name: str, default: object) -> object:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.value
