"""What can be left in float: single operators, tensors with all that touch them, concatenations, the head.

An operator alone keeps its weights; the tensors around it are still rounded, because its neighbours read and write
integers. A tensor stays float only if whatever writes it and everything that reads it does. An operator without
weights between integers is an integer operator whatever it is called, so alone it is no candidate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import onnx_ir as ir

from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import OPERATORS
from edgeconv.export.quantize.plan import plan_operations
from edgeconv.graph import constant_value, module_path

__all__ = ["Candidate", "effective", "find_candidates"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Int8 operators to leave in float together: `operators` are node names in graph order."""

    name: str
    kind: str
    operators: tuple[str, ...]


def find_candidates(model: ir.Model, kept_float: Collection[str] = ()) -> list[Candidate]:
    """Every candidate of the fp32 graph `model`, no set of operators twice; single operators come first.

    Args:
        model: the graph; its nodes have names.
        kept_float: operators that are float already.
    """
    operations = [op for op in plan_operations(model.graph, kept_float=kept_float).operations if op.is_int8]
    order = {str(operation.node.name): index for index, operation in enumerate(operations)}
    found: dict[tuple[str, ...], Candidate] = {}
    for kind, name, members in _groups(operations, model.graph):
        names = tuple(sorted({str(member.node.name) for member in members}, key=order.__getitem__))
        found.setdefault(names, Candidate(name, kind, names))
    return list(found.values())


def effective(model: ir.Model, float_nodes: Collection[str]) -> frozenset[str]:
    """Those of `float_nodes` that really compute in float: with weights, or next to a tensor that stays float."""
    operations = plan_operations(model.graph, kept_float=float_nodes).operations
    around: dict[ir.Value, list[Operation]] = {}
    for operation in operations:
        read = (value for node in operation.nodes for value in node.inputs if value is not None)
        for value in {*operation.outputs, *(value for value in read if constant_value(value) is None)}:
            around.setdefault(value, []).append(operation)
    left = {operation for operation in operations if not operation.is_int8}
    while True:
        floating = (members for members in around.values() if len(members) > 1 and left.issuperset(members))
        anchored = {operation for members in floating for operation in members}
        asked = {operation for operation in left if operation.node.name in float_nodes}
        lonely = {op for op in asked - anchored if not OPERATORS[op.node.op_type].weighted}
        if not lonely:
            return frozenset(str(operation.node.name) for operation in asked)
        left -= lonely


def _groups(operations: Sequence[Operation], graph: ir.Graph) -> Iterator[tuple[str, str, list[Operation]]]:
    writer = {value: operation for operation in operations for value in operation.outputs}
    readers: dict[ir.Value, list[Operation]] = {}
    for operation in operations:
        for value in operation.inputs:
            readers.setdefault(value, []).append(operation)
    for operation in operations:
        if operation.rule.weighted:
            yield "operator", _label(operation), [operation]
    for value, producer in writer.items():
        if value in readers:
            yield "tensor", f"output of {_label(producer)}", [producer, *readers[value]]
    for operation in operations:
        if operation.node.op_type == "Concat":
            around = [writer[value] for value in operation.inputs if value in writer]
            behind = [reader for value in operation.outputs for reader in readers.get(value, [])]
            yield "concat", _label(operation), [*around, operation, *behind]
    for value in graph.outputs:
        if value in writer:
            yield "head", f"head of {value.name}", list(_head(writer[value], writer))


def _head(last: Operation, writer: dict[ir.Value, Operation]) -> Iterator[Operation]:
    """From an output back to the second operator with weights."""
    weighted, frontier, seen = 0, [last], {last}
    while frontier and weighted < 2:
        operation = frontier.pop(0)
        yield operation
        weighted += operation.rule.weighted
        new = [writer[value] for value in operation.inputs if value in writer and writer[value] not in seen]
        seen.update(new)
        frontier.extend(new)


def _label(operation: Operation) -> str:
    """Module path and operator; the node's name where it came from no module."""
    node = operation.node
    path = module_path(node)
    return f"{path} {node.op_type}" if path else str(node.name)
