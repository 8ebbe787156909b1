"""Decides which operators run in int8, with which activation fused, and which tensors carry a quantiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

import onnx_ir as ir

from edgeconv.attention import mask_operands
from edgeconv.export.quantize.float_regions import keep_float_regions
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import OPERATORS, Output, float_reason, is_fused_activation
from edgeconv.export.quantize.placement import Placement, keep_weighted
from edgeconv.graph import computed_constants, constant_value

__all__ = ["Plan", "observed_tensors", "plan_operations"]

_ASKED = "asked for"
_MASK = -20.0  # what is added to scores and is below takes values out of a Softmax: exp(-20) is 2e-9


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every node of the graph in an operation, in graph order, and the tensors to quantise.

    `constant` are those of them that depend on constants alone: their range is known, whatever the data.
    """

    operations: tuple[Operation, ...]
    quantised: tuple[ir.Value, ...]
    constant: frozenset[ir.Value] = frozenset()


def plan_operations(
    graph: ir.Graph, *, placement: Placement = Placement.EVERYWHERE, kept_float: Collection[str] = ()
) -> Plan:
    """Plan the int8 graph; where quantisers are not to be everywhere, as `keep_weighted` says, else:

    1. An operator with an int8 form that reads at least one activation is int8.
    2. Conv, ConvTranspose, Gemm, MatMul, Add, Sub and Mul take the Relu or Clip(0, 6) that alone reads them along.
    3. Operators to which an integer form would only add roundings stay in float, see `keep_float_regions`: so a
       factorisation that divides by what it computed is float as a whole.  So do operators on constants alone, which
       a runtime computes when it loads; but a Resize of a constant is int8, for LiteRT runs it with every inference.
    4. The operators named in `kept_float` stay in float, with the activation that is fused with them.
    5. A Softmax of masked scores stays in float, and by 3. so does what leads there.
    6. Quantised are the data inputs and the outputs of int8 operations, and the graph's float inputs and outputs that
       are no constants.
    """
    operations = keep_float_regions(list(_operations(graph, kept_float)), graph)
    if placement is not Placement.EVERYWHERE:
        operations, tensors = keep_weighted(operations, graph, placement)
        return Plan(tuple(operations), tuple(tensors))
    quantised: dict[ir.Value, None] = {value: None for value in graph.inputs if _is_float(value)}
    for operation in operations:
        if operation.is_int8:
            quantised.update(dict.fromkeys((*operation.inputs, *operation.outputs)))
    answers = [value for value in graph.outputs if _is_float(value) and constant_value(value) is None]
    quantised.update(dict.fromkeys(answers))
    return Plan(tuple(operations), tuple(quantised), computed_constants(graph).intersection(quantised))


def observed_tensors(
    model: ir.Model, *, placement: Placement = Placement.EVERYWHERE, kept_float: Collection[str] = ()
) -> list[str]:
    """The tensors whose statistics `quantize` needs: the quantised ones that no shared quantiser reaches from above.

    The output of MaxPool, Concat, DepthToSpace… lies within the range of its inputs and needs none of its own.
    """
    plan = plan_operations(model.graph, placement=placement, kept_float=kept_float)
    derived = {value for operation in plan.operations if _shares(operation) for value in operation.outputs}
    return [str(value.name) for value in plan.quantised if value not in derived]


def _operations(graph: ir.Graph, kept_float: Collection[str]) -> Iterator[Operation]:
    fused: set[ir.Node] = set()
    constant = computed_constants(graph)
    for node in graph:
        if node in fused:
            continue
        reason = float_reason(node) or _without_activation(node, constant) or _masked(node)
        activation = None if reason or not OPERATORS[node.op_type].fuses else _sole_activation(node)
        if activation is not None:
            fused.add(activation)
        kept = _ASKED if node.name in kept_float else ""
        yield Operation(node, activation, reason or kept)


def _without_activation(node: ir.Node, constant: Collection[ir.Value]) -> str:
    if node.op_type == "Resize" and constant_value(node.inputs[0]) is not None:
        return ""
    activations = (value for value in Operation(node, None, "").inputs if value not in constant)
    return "computes on constants only" if next(activations, None) is None else ""


def _masked(node: ir.Node) -> str:
    masks = (float(array.min()) for _, _, array in mask_operands(node) if array.size)
    return "reads masked scores: 8 bits would keep the mask alone" if min(masks, default=0.0) < _MASK else ""


def _sole_activation(node: ir.Node) -> ir.Node | None:
    output = node.outputs[0]
    readers = output.consumers()
    if output.is_graph_output() or len(readers) != 1 or not is_fused_activation(readers[0]):
        return None
    return readers[0]


def _shares(operation: Operation) -> bool:
    return operation.is_int8 and operation.rule.output is Output.SHARED


def _is_float(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.FLOAT
