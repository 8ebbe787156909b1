"""Keeps ONNX Runtime from quantising by itself what is to stay in float."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.quantize.operators import OPERATORS
from edgeconv.graph import constant_value, only_reader, unique_name

__all__ = ["guard_float_operators"]

_RANGE = float(np.finfo(np.float32).max)


def guard_float_operators(model: ir.Model) -> int:
    """Put a Clip that clips nothing between the DequantizeLinear and each operator with float weights behind it.

    Where such an operator stands between a DequantizeLinear and a QuantizeLinear, ONNX Runtime takes it for an integer
    one whose weights were forgotten, and rounds them to 8 bits itself: no better than the int8 that the operator was
    to be rescued from. It looks for the DequantizeLinear right before.

    Returns:
        How many there were.
    """
    graph = model.graph
    names = {str(value.name) for value in [*graph.inputs, *graph.initializers.values()]}
    names |= {str(name) for node in graph for name in (node.name, *(output.name for output in node.outputs))}
    bounds: list[ir.Value] = []
    guarded = 0
    for node in list(graph):
        source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if source is None or source.op_type != "DequantizeLinear" or not _has_float_weights(node):
            continue
        if not bounds:
            bounds = [_constant(graph, unique_name(stem, names), value) for stem, value in _bounds()]
        read = node.inputs[0]
        guard = ir.node("Clip", [read, *bounds], name=unique_name(f"{node.name}/Guard", names))
        guard.outputs[0].name = unique_name(f"{node.name}_input", names)
        guard.outputs[0].type, guard.outputs[0].shape = read.type, read.shape  # type: ignore[union-attr]
        graph.insert_before(node, guard)
        node.replace_input_with(0, guard.outputs[0])
        guarded += 1
    return guarded


def _has_float_weights(node: ir.Node) -> bool:
    rule = OPERATORS.get(node.op_type)
    weights = constant_value(node.inputs[1]) if rule is not None and rule.weighted and len(node.inputs) > 1 else None
    return weights is not None and weights.dtype == np.float32 and _is_quantised(node.outputs[0])


def _is_quantised(value: ir.Value) -> bool:
    """Whether only a QuantizeLinear reads `value`, perhaps behind an activation that may be folded into it."""
    reader = only_reader(value)
    if reader is not None and reader.op_type in ("Relu", "Clip"):
        reader = only_reader(reader.outputs[0])
    return reader is not None and reader.op_type == "QuantizeLinear"


def _bounds() -> list[tuple[str, float]]:
    return [("guard_low", -_RANGE), ("guard_high", _RANGE)]


def _constant(graph: ir.Graph, name: str, value: float) -> ir.Value:
    tensor = ir.tensor(np.array(value, np.float32), name=name)
    constant = ir.Value(name=name, shape=ir.Shape(()), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(constant)
    return constant
