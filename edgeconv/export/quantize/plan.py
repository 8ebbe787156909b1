"""Decides which operators run in int8, with which activation fused, and which tensors carry a quantiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator

import onnx_ir as ir

from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import OPERATORS, Output, float_reason, is_fused_activation
from edgeconv.export.quantize.placement import keep_weighted

__all__ = ["Plan", "observed_tensors", "plan_operations"]

_ASKED = "asked for"
_SURROUNDED = "only operators without int8 form around it"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every node of the graph in an operation, in graph order, and the tensors to quantise."""

    operations: tuple[Operation, ...]
    quantised: tuple[ir.Value, ...]


def plan_operations(graph: ir.Graph, *, weighted_only: bool = False, kept_float: Collection[str] = ()) -> Plan:
    """Plan the int8 graph; with `weighted_only` as `keep_weighted` says, else:

    1. An operator with an int8 form that reads at least one activation is int8.
    2. Conv, ConvTranspose, Gemm, MatMul, Add, Sub and Mul take the Relu or Clip(0, 6) that alone reads them along.
    3. Cheap operators with only float operators around them stay in float: rounding there would cost accuracy
       for nothing.
    4. The operators named in `kept_float` stay in float, with the activation that is fused with them.
    5. Quantised are the data inputs and the outputs of int8 operations, and the graph's float inputs and outputs.
    """
    if weighted_only:
        operations, tensors = keep_weighted(list(_operations(graph, kept_float)), graph)
        return Plan(tuple(operations), tuple(tensors))
    operations = _refuse_surrounded(list(_operations(graph, kept_float)), graph)
    quantised: dict[ir.Value, None] = {value: None for value in graph.inputs if _is_float(value)}
    for operation in operations:
        if operation.is_int8:
            quantised.update(dict.fromkeys((*operation.inputs, *operation.outputs)))
    quantised.update((value, None) for value in graph.outputs if _is_float(value))
    return Plan(tuple(operations), tuple(quantised))


def observed_tensors(model: ir.Model, *, weighted_only: bool = False, kept_float: Collection[str] = ()) -> list[str]:
    """The tensors whose statistics `quantize` needs: the quantised ones that no shared quantiser reaches from above.

    The output of MaxPool, Concat, DepthToSpace… lies within the range of its inputs and needs none of its own.
    """
    plan = plan_operations(model.graph, weighted_only=weighted_only, kept_float=kept_float)
    derived = {value for operation in plan.operations if _shares(operation) for value in operation.outputs}
    return [str(value.name) for value in plan.quantised if value not in derived]


def _operations(graph: ir.Graph, kept_float: Collection[str]) -> Iterator[Operation]:
    fused: set[ir.Node] = set()
    for node in graph:
        if node in fused:
            continue
        reason = float_reason(node) or _without_activation(node)
        activation = None if reason or not OPERATORS[node.op_type].fuses else _sole_activation(node)
        if activation is not None:
            fused.add(activation)
        kept = _ASKED if node.name in kept_float else ""
        yield Operation(node, activation, reason or kept)


def _without_activation(node: ir.Node) -> str:
    return "" if Operation(node, None, "").inputs else "computes on constants only"


def _sole_activation(node: ir.Node) -> ir.Node | None:
    output = node.outputs[0]
    readers = output.consumers()
    if output.is_graph_output() or len(readers) != 1 or not is_fused_activation(readers[0]):
        return None
    return readers[0]


def _refuse_surrounded(operations: list[Operation], graph: ir.Graph) -> list[Operation]:
    """Turn each connected set of int8 operators without weights to float if no int8 neighbour or port touches it."""
    producer = {value: operation for operation in operations for value in operation.outputs}
    readers: dict[ir.Value, list[Operation]] = {}
    for operation in operations:
        for value in _read(operation):
            readers.setdefault(value, []).append(operation)
    refused: set[Operation] = set()
    seen: set[Operation] = set()
    for start in operations:
        if not _is_cheap(start) or start in seen:
            continue
        component, touches_int8, stack = {start}, False, [start]
        while stack:
            operation = stack.pop()
            for value in (*operation.inputs, *operation.outputs):
                touches_int8 |= value.is_graph_input() or value.is_graph_output()
                neighbours = [*readers.get(value, ()), *([producer[value]] if value in producer else [])]
                touches_int8 |= any(other.is_int8 and other.rule.weighted for other in neighbours)
                new = [other for other in neighbours if _is_cheap(other) and other not in component]
                component.update(new)
                stack.extend(new)
        seen |= component
        if not touches_int8:
            refused |= component
    return [
        dataclasses.replace(operation, reason=_SURROUNDED) if operation in refused else operation
        for operation in operations
    ]


def _read(operation: Operation) -> Iterable[ir.Value]:
    return {value for node in operation.nodes for value in node.inputs if value is not None}


def _is_cheap(operation: Operation) -> bool:
    return operation.is_int8 and not operation.rule.weighted


def _shares(operation: Operation) -> bool:
    return operation.is_int8 and operation.rule.output is Output.SHARED


def _is_float(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.FLOAT
