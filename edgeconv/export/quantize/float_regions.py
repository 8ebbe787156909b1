"""Where operators that have an int8 form stay in float, because an integer form would only add roundings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir

from edgeconv.export.gelu import find_gelu
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import Output
from edgeconv.graph import constant_value

__all__ = ["keep_float_regions"]

_READ = "only float operators read its result"
_READS = "reads only what is computed in float"
_GELU = "part of a GELU, which is one operator"
_BESIDE = "a product of a matrix that is multiplied in float elsewhere, read by float operators only"


def keep_float_regions(operations: Sequence[Operation], graph: ir.Graph) -> list[Operation]:
    """Turn operators to float, until none is left to which one of these applies:

    1. An operator without weights whose result only float operators read: the integers would be dequantised at once.
    2. An operator without weights that reads only what float operators computed.  One that only moves or selects
       values (Transpose, Concat, MaxPool…) does so in float if both applies, else on integers, which are smaller;
       or if only float operators read its result and another one needs the same tensor in float anyway.
    3. The parts of a GELU that is written with Erf; seen from outside, the whole moves values from x to its result.
    4. A MatMul by constants of a matrix that is multiplied by an activation in float elsewhere, perhaps transposed,
       if only float operators read it: the first step of an iteration from a constant start.

    A product of two activations has no weights.  Where an iteration divides by what it computed, as factorisations
    and normalisations do, its products and sums so stay in float; a Softmax has an int8 form, so attention is int8.
    """
    regions = _Regions(operations, graph)
    while regions.grow():
        pass
    return [
        dataclasses.replace(operation, reason=regions.reasons[operation]) if operation in regions.reasons else operation
        for operation in operations
    ]


class _Regions:
    """What has become float so far, and why."""

    def __init__(self, operations: Sequence[Operation], graph: ir.Graph) -> None:
        self.reasons: dict[Operation, str] = {}
        self._operations = operations
        self._operation_of = {node: operation for operation in operations for node in operation.nodes}
        self._inputs = {value for value in graph.inputs if value.dtype == ir.DataType.FLOAT}
        self._outputs = {value for value in graph.outputs if value.dtype == ir.DataType.FLOAT}
        self._gelu = _parts_of_gelus(graph)
        for operation in operations:
            if operation.is_int8 and operation.node in self._gelu:
                self.reasons[operation] = _GELU

    def grow(self) -> bool:
        """One pass against the flow and one along it; whether anything became float."""
        before = len(self.reasons)
        asked = self._against_the_flow()
        rounded = self._along_the_flow()
        moves = [operation for operation in self._operations if self._is_int8(operation) and _moves(operation)]
        for operation in moves:
            if asked.isdisjoint(operation.outputs) and (
                rounded.isdisjoint(operation.inputs) or any(map(self._is_read_in_float, operation.inputs))
            ):
                self.reasons[operation] = _READ
        self._products_beside()
        return len(self.reasons) > before

    def _against_the_flow(self) -> set[ir.Value]:
        """Rule 1; the tensors that something reads on integers."""
        asked = set(self._outputs)
        for operation in reversed(self._operations):
            if self._is_transparent(operation):
                if not asked.isdisjoint(operation.outputs):
                    asked.update(_activations(operation))
            elif self._is_int8(operation):
                if not _has_weights(operation) and asked.isdisjoint(operation.outputs):
                    self.reasons[operation] = _READ
                else:
                    asked.update(operation.inputs)
        return asked

    def _along_the_flow(self) -> set[ir.Value]:
        """Rule 2; the tensors that come out of integers."""
        rounded = set(self._inputs)
        for operation in self._operations:
            if self._is_transparent(operation):
                if not rounded.isdisjoint(_activations(operation)):
                    rounded.update(operation.outputs)
            elif self._is_int8(operation):
                if not _has_weights(operation) and rounded.isdisjoint(operation.inputs):
                    self.reasons[operation] = _READS
                else:
                    rounded.update(operation.outputs)
        return rounded

    def _products_beside(self) -> None:
        """Rule 4."""
        asked = self._against_the_flow()
        origins: dict[ir.Value, frozenset[ir.Value]] = {}
        for operation in self._operations:
            if operation.node.op_type != "Concat" and operation.is_int8 and _moves(operation):
                found = frozenset[ir.Value]().union(*(origins.get(v, frozenset({v})) for v in operation.inputs))
                origins.update(dict.fromkeys(operation.outputs, found))

        def factors(operation: Operation) -> frozenset[ir.Value]:
            return frozenset[ir.Value]().union(*(origins.get(v, frozenset({v})) for v in operation.inputs))

        products = [operation for operation in self._operations if operation.node.op_type == "MatMul"]
        in_float = {v for operation in products if operation in self.reasons for v in factors(operation)}
        for operation in products:
            if self._is_int8(operation) and asked.isdisjoint(operation.outputs) and factors(operation) & in_float:
                self.reasons[operation] = _BESIDE

    def _is_read_in_float(self, value: ir.Value) -> bool:
        readers = (self._operation_of.get(node) for node in value.consumers() if node not in self._gelu)
        return any(reader is not None and not self._is_int8(reader) for reader in readers)

    def _is_int8(self, operation: Operation) -> bool:
        return operation.is_int8 and operation not in self.reasons

    def _is_transparent(self, operation: Operation) -> bool:
        """Whether it neither asks for integers nor rounds to them itself: it moves values, or is part of a GELU."""
        return operation.node in self._gelu or (self._is_int8(operation) and _moves(operation))


def _parts_of_gelus(graph: ir.Graph) -> set[ir.Node]:
    found = (find_gelu(node, _number) for node in graph if node.op_type == "Erf")
    return {node for pattern in found if pattern is not None for node in pattern.nodes}


def _number(value: ir.Value | None) -> float | None:
    array = constant_value(value)
    return float(array.item()) if array is not None and array.size == 1 else None


def _activations(operation: Operation) -> list[ir.Value]:
    return [value for value in operation.node.inputs if value is not None and constant_value(value) is None]


def _moves(operation: Operation) -> bool:
    return operation.rule.output is Output.SHARED


def _has_weights(operation: Operation) -> bool:
    return operation.rule.weighted and any(constant_value(value) is not None for value in operation.node.inputs[:2])
