"""Constant subgraphs in a file, such as a gate map stored as its factors, as runtimes fold them when they load.

ONNX Runtime never folds a DequantizeLinear, and OpenVINO's low-precision pass fails on a QuantizeLinear of constants
that it has not folded yet.  So inside such a subgraph both are written in plain operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.graph import computed_constants, constant_value, readers, register_constant, unique_name

__all__ = ["expression_constants", "spell_out_quantisers"]


def expression_constants(graph: ir.Graph) -> dict[ir.Value, npt.NDArray[Any]]:
    """The initialisers of numbers, more than one each, that nothing but computed constants depends on."""
    computed = computed_constants(graph)
    found = {}
    for value in graph.initializers.values():
        nodes = readers(value)
        if nodes and all(computed.issuperset(node.outputs) and _joins(node, computed) for node in nodes):
            array = constant_value(value)
            if array is not None and array.size > 1 and array.dtype != np.int64:  # shapes and axes are int64
                found[value] = array
    return found


def spell_out_quantisers(model: ir.Model) -> int:
    """Replace, in place, the quantisers inside constant subgraphs by plain operators that compute the same integers.

    The DequantizeLinear at the end of a subgraph, which an activation's operator reads, stays: runtimes fuse it.
    Returns how many were replaced.
    """
    computed = computed_constants(model.graph)
    names = {str(value.name) for node in model.graph for value in node.outputs} | set(model.graph.initializers)
    replaced = 0
    for node in list(model.graph):
        if node.op_type not in _SPELLINGS or not computed.issuperset(node.outputs) or not _joins(node, computed):
            continue
        steps = _SPELLINGS[node.op_type](node)
        value = node.inputs[0]
        made = []
        for operator, operands, kind, attributes in steps:
            stem = f"{node.outputs[0].name}_{operator.lower()}"
            constants = [
                register_constant(model.graph, unique_name(f"{stem}_operand", names), array) for array in operands
            ]
            output = ir.Value(name=unique_name(stem, names), type=ir.TensorType(kind), shape=node.outputs[0].shape)
            made.append(ir.node(operator, [value, *constants], attributes, outputs=[output], name=str(output.name)))
            made[-1].metadata_props.update(node.metadata_props)
            value = output
        model.graph.insert_before(node, made)
        node.outputs[0].replace_all_uses_with(made[-1].outputs[0])
        model.graph.remove(node, safe=True)
        replaced += 1
    return replaced


_Step = tuple[str, Sequence[npt.NDArray[Any]], ir.DataType, dict[str, int]]


def _quantise(node: ir.Node) -> list[_Step]:
    """saturate(round(x / scale) + zero point), as ONNX defines QuantizeLinear."""
    scale, zero_point = _parameters(node)
    limits, kind = np.iinfo(zero_point.dtype), ir.DataType.FLOAT
    low, high = (np.array(limit, np.float32) for limit in (limits.min, limits.max))
    integers = ir.DataType.from_numpy(zero_point.dtype)
    return [
        ("Div", [scale], kind, {}),
        ("Round", [], kind, {}),
        ("Add", [zero_point.astype(np.float32)], kind, {}),
        ("Clip", [low, high], kind, {}),
        ("Cast", [], integers, {"to": integers.value}),
    ]


def _dequantise(node: ir.Node) -> list[_Step]:
    scale, zero_point = _parameters(node)
    kind = ir.DataType.FLOAT
    return [
        ("Cast", [], kind, {"to": kind.value}),
        ("Sub", [zero_point.astype(np.float32)], kind, {}),
        ("Mul", [scale], kind, {}),
    ]


_SPELLINGS = {"QuantizeLinear": _quantise, "DequantizeLinear": _dequantise}


def _parameters(node: ir.Node) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    scale, zero_point = (constant_value(value) for value in node.inputs[1:3])
    if scale is None or zero_point is None:
        raise TypeError(f"{node.name} has no constant scale and zero point")
    return scale, zero_point


def _joins(node: ir.Node, computed: frozenset[ir.Value]) -> bool:
    """Whether it is no more than the dequantiser of a constant or of a subgraph's result: something constant reads it,
    or it quantises."""
    if node.op_type != "DequantizeLinear":
        return True
    return any(computed.issuperset(reader.outputs) for value in node.outputs for reader in readers(value))
