"""Runs a Q/DQ graph in torch with values of one's own in the place of constants, so that these can be learned.

A tensor between QuantizeLinear and DequantizeLinear is held as the floats that its integers stand for. Rounding lets
gradients through as if it were not there (straight-through), clipping stops them; the gradient of a scale is that of
"Learned step size quantization" (S. Esser et al., ICLR 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array
from edgeconv.export.learn.operators import Operator, make_operator
from edgeconv.graph import constant_value, describe

__all__ = ["Interpreter", "unknown_operators"]

_LIMITS = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255)}
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


@dataclasses.dataclass(frozen=True, eq=False)
class _Quantiser:
    """QuantizeLinear and DequantizeLinear in one; `scale` may be learned."""

    scale: ir.Value
    zero_point: int
    limits: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    node: ir.Node
    inputs: tuple[ir.Value, ...]
    function: Operator | _Quantiser


def unknown_operators(graph: ir.Graph) -> list[str]:
    """The nodes that cannot be run here, each as an error message names it."""
    return [describe(node) for node in graph if _function(node) is None]


class Interpreter:
    """A Q/DQ graph as a function of its inputs and of the values that are learned.

    Args:
        model: the Q/DQ graph; its constants are read once.
        learned: what `run` will be given: outputs of DequantizeLinear nodes of constants, and scales of quantisers.

    Raises:
        ExportError: an operator that is not known; see `unknown_operators`.
    """

    def __init__(self, model: ir.Model, learned: Collection[ir.Value] = ()) -> None:
        self._inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
        self._outputs = list(model.graph.outputs)
        self._constants: dict[ir.Value, Tensor] = {}
        self._steps: list[_Step] = []
        with torch.no_grad():
            for node in model.graph:
                self._add(node, frozenset(learned))

    def run(
        self, inputs: Mapping[str, Array], learned: Mapping[ir.Value, Tensor] = MappingProxyType({})
    ) -> list[Tensor]:
        """The graph's outputs, in order."""
        values = {**self._constants, **learned}
        values |= {value: torch.tensor(inputs[str(value.name)]) for value in self._inputs}
        for step in self._steps:
            values[step.node.outputs[0]] = _apply(step, values)
        return [values[value] for value in self._outputs]

    def _add(self, node: ir.Node, learned: frozenset[ir.Value]) -> None:
        """Compute `node` now if nothing that it reads can change, else in every run."""
        if node.op_type == "Constant" or node.outputs[0] in learned:
            return
        function = _function(node)
        if function is None:
            raise ExportError(f"{describe(node)} cannot be computed while learning.", "Export without --learn.")
        step = _Step(node, _data(node), function)
        reads = {*step.inputs, *([function.scale] if isinstance(function, _Quantiser) else [])}
        for value in reads:
            array = constant_value(value)
            if array is not None and value not in learned:
                self._constants[value] = torch.from_numpy(np.array(array))
        if reads <= self._constants.keys():
            self._constants[node.outputs[0]] = _apply(step, self._constants)
        else:
            self._steps.append(step)


def _apply(step: _Step, values: Mapping[ir.Value, Tensor]) -> Tensor:
    inputs = [values[value] for value in step.inputs]
    function = step.function
    if isinstance(function, _Quantiser):
        return _fake_quantise(inputs[0], values[function.scale], function.zero_point, *function.limits)
    return function(inputs)


def _data(node: ir.Node) -> tuple[ir.Value, ...]:
    """What a node reads each time: of a quantiser the data only, of others every input that is there."""
    read = node.inputs[:1] if node.op_type in _QUANTISERS else node.inputs
    return tuple(value for value in read if value is not None)


def _function(node: ir.Node) -> Operator | _Quantiser | None:
    if node.op_type == "Constant":
        return lambda inputs: inputs[0]
    if node.op_type == "QuantizeLinear":
        return _quantiser(node)
    return _dequantise(node) if node.op_type == "DequantizeLinear" else make_operator(node)


def _quantiser(node: ir.Node) -> _Quantiser | None:
    zero_point, scale = constant_value(node.inputs[2]), constant_value(node.inputs[1])
    if zero_point is None or scale is None or scale.ndim or zero_point.dtype not in _LIMITS or node.inputs[1] is None:
        return None
    return _Quantiser(node.inputs[1], int(zero_point), _LIMITS[zero_point.dtype])


def _dequantise(node: ir.Node) -> Operator | None:
    scale, zero_point = constant_value(node.inputs[1]), constant_value(node.inputs[2])
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    if scale is None or zero_point is None or source is None:
        return None
    if producer is not None and producer.op_type == "QuantizeLinear":  # its result is dequantised already
        written = constant_value(producer.inputs[1])
        return (lambda inputs: inputs[0]) if written is not None and np.array_equal(scale, written) else None
    if constant_value(source) is None:
        return None
    axis = node.attributes.get_int("axis", 1)
    steps, origin = torch.from_numpy(np.array(scale)), torch.from_numpy(np.array(zero_point)).float()

    def run(inputs: Sequence[Tensor]) -> Tensor:
        shape = [-1 if i == axis else 1 for i in range(inputs[0].ndim)] if steps.ndim else []
        return (inputs[0].float() - origin.reshape(shape)) * steps.reshape(shape)

    return run


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
        steps = x / scale
        whole = steps.round()
        clipped = whole.clamp(low - zero_point, high - zero_point)
        inside = whole == clipped
        ctx.save_for_backward(inside, torch.where(inside, clipped - steps, clipped) if scale.requires_grad else None)
        return clipped * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inside, slope = ctx.saved_tensors
        of_scale = None if slope is None else (gradient * slope).sum()
        return gradient * inside, of_scale, None, None, None


def _fake_quantise(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    result: Tensor = _FakeQuantise.apply(x, scale, zero_point, low, high)  # type: ignore[no-untyped-call]
    return result
