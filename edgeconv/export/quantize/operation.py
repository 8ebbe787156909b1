"""An operator as the quantiser sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from edgeconv.export.executor import Array
from edgeconv.export.quantize.operators import OPERATORS, OperatorRule
from edgeconv.graph import constant_value

__all__ = ["Operation"]


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """An operator, with the activation that runs in the same kernel; `reason` says why it stays in float, if so."""

    node: ir.Node
    activation: ir.Node | None
    reason: str

    @property
    def is_int8(self) -> bool:
        """Whether it computes on integers."""
        return not self.reason

    @property
    def rule(self) -> OperatorRule:
        """The rule of an int8 operation."""
        return OPERATORS[self.node.op_type]

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """The operator and its activation."""
        return (self.node,) if self.activation is None else (self.node, self.activation)

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """The float tensors that leave the operation."""
        return tuple(value for value in self.nodes[-1].outputs if value.uses() or value.is_graph_output())

    @property
    def inputs(self) -> tuple[ir.Value, ...]:
        """The activations that an int8 operation reads as data, in order, each as often as it is read."""
        return tuple(value for _, value in self._data() if constant_value(value) is None)

    @property
    def constants(self) -> tuple[tuple[int, Array], ...]:
        """The constant data operands (weights apart) of an int8 operation, with their input index."""
        found = ((index, constant_value(value)) for index, value in self._data())
        return tuple(
            (index, array) for index, array in found if array is not None and not (self.rule.weighted and index == 1)
        )

    def _data(self) -> Iterator[tuple[int, ir.Value]]:
        for index, value in enumerate(self.node.inputs[: self.rule.data_inputs]):
            if value is not None:
                yield index, value
