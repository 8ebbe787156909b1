"""Cuts a Q/DQ graph into its integer operators: ``DQ(inputs) -> operator [-> activation] -> Q``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from edgeconv.export.executor import Array
from edgeconv.export.quantize.operators import OPERATORS, is_fused_activation
from edgeconv.graph import constant_value

__all__ = ["IntegerConstant", "Unit", "integer_constant", "operator_units"]


@dataclasses.dataclass(frozen=True)
class Unit:
    """One operator of a Q/DQ graph with its fused activation.

    `inputs` and `outputs` are the tensors at its border: integers where it reads a DequantizeLinear or writes a
    QuantizeLinear, floats at the border of a float island. A QuantizeLinear that no operator owns (behind a graph
    input, or from one grid to another) is a unit of its own.
    """

    node: ir.Node
    activation: ir.Node | None
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]

    @property
    def result(self) -> ir.Value:
        """The float tensor that the operator computes, before its activation."""
        return self.node.outputs[0]


@dataclasses.dataclass(frozen=True)
class IntegerConstant:
    """Weights or a bias behind a DequantizeLinear: one scale for each entry of `axis`; `value` and `scale_value` are
    the initialisers."""

    value: ir.Value
    scale_value: ir.Value
    integers: Array
    scale: Array
    axis: int

    def store(self, integers: Array, scale: Array) -> None:
        """Write other integers and scales into the graph."""
        for value, array in ((self.value, integers), (self.scale_value, scale)):
            value.const_value = ir.tensor(array, name=value.name)


def integer_constant(node: ir.Node, index: int) -> IntegerConstant | None:
    """The per-channel integer constant that `node` reads as input `index`, None if that input is anything else."""
    read = node.inputs[index] if len(node.inputs) > index else None
    producer = None if read is None else read.producer()
    if producer is None or producer.op_type != "DequantizeLinear" or "axis" not in producer.attributes:
        return None
    (value, scale_value), axis = producer.inputs[:2], producer.attributes["axis"].as_int()
    integers, scale = constant_value(value), constant_value(scale_value)
    if value is None or scale_value is None or integers is None or scale is None:
        return None
    return IntegerConstant(value, scale_value, integers, scale, axis)


def operator_units(graph: ir.Graph) -> list[Unit]:
    """The units of `graph` in graph order; together they hold every node except the last DequantizeLinears."""
    return list(_units(graph))


def _units(graph: ir.Graph) -> Iterator[Unit]:
    owned: set[ir.Node] = set()
    for node in graph:
        if node in owned or node.op_type in ("DequantizeLinear", "Constant"):
            continue
        activation = _fused_activation(node)
        last = activation or node
        outputs = []
        for value in last.outputs:
            if not value.uses() and not value.is_graph_output():
                continue
            quantise = _quantiser_behind(value) if node.op_type != "QuantizeLinear" else None
            outputs.append(value if quantise is None else quantise.outputs[0])
            owned.update([] if quantise is None else [quantise])
        owned.update([] if activation is None else [activation])
        sources = (_data_source(value) for value in node.inputs if value is not None)
        inputs = dict.fromkeys(value for value in sources if value is not None)
        if outputs:
            yield Unit(node, activation, tuple(inputs), tuple(outputs))


def _fused_activation(node: ir.Node) -> ir.Node | None:
    rule = OPERATORS.get(node.op_type)
    if rule is None or not rule.fuses:
        return None
    readers = node.outputs[0].consumers()
    return readers[0] if len(readers) == 1 and is_fused_activation(readers[0]) else None


def _data_source(value: ir.Value) -> ir.Value | None:
    """What a reader of `value` depends on: the integers before a DequantizeLinear, or `value`; None if constant."""
    producer = value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        integers = producer.inputs[0]
        return None if integers is None or constant_value(integers) is not None else integers
    return None if constant_value(value) is not None else value


def _quantiser_behind(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that alone reads `value`, if there is one."""
    readers = value.consumers()
    if len(readers) == 1 and readers[0].op_type == "QuantizeLinear" and readers[0].inputs[0] is value:
        return readers[0]
    return None
