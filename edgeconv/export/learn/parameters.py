"""What of a Q/DQ graph is learned, how far it may move, and how it becomes integers again."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from edgeconv.export.quantize.operators import OPERATORS, Output
from edgeconv.export.quantize.units import IntegerConstant, Unit, integer_constant, operator_units
from edgeconv.export.quantize.weights import BIAS_LIMIT, bias_scale
from edgeconv.graph import constant_value

__all__ = ["Parameters"]

_LARGEST = 127
_MAX_DELTA = 0.8  # steps of a weight; further, the weights walk at random and lose on inputs unlike those learned from
_MAX_LOG_SCALE = 0.5  # a range moves by at most 1.65; multipliers and integer biases stay far from their limits
# Adam's rates. 0.06 steps of a weight lost 5 dB on shifted inputs while the training loss fell.
_WEIGHT_RATE = 0.004  # steps of the weight
_BIAS_RATE = 0.02  # steps of the output
_RANGE_RATE = 0.005  # natural logarithm of the scale


@dataclasses.dataclass(frozen=True, eq=False)
class _Weights:
    """`delta` in steps of the integer weights."""

    constant: IntegerConstant
    read: ir.Value
    scale: Tensor
    steps: Tensor
    delta: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class _Bias:
    """`delta` in units of `unit`; `input_scale` and the weights' scales give the grid of the integers."""

    node: ir.Node
    constant: IntegerConstant
    read: ir.Value
    start: Tensor
    unit: float
    delta: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranges:
    """Scales that tensors moved by one operator share, times ``exp(delta)``."""

    scales: tuple[ir.Value, ...]
    delta: Tensor


class Parameters:
    """Biases, weights and ranges of the Q/DQ graph `model`, each as a small change of what it has.

    Zero points stay, so zero stays exact. Ranges of graph inputs, of Sigmoid, Softmax and Tanh and of what is moved
    together with a constant stay as well. What operators move around together has one change.
    """

    def __init__(self, model: ir.Model) -> None:
        units = operator_units(model.graph)
        self._weights = list(_weights(units))
        self._biases = list(_biases(units))
        self._ranges = [_Ranges(group, torch.zeros(())) for group in _range_groups(model.graph, units)]
        self._starts = {scale: _array(scale) for group in self._ranges for scale in group.scales}
        for parameter in self._all():
            parameter.requires_grad_(True)

    @property
    def count(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self._all())

    @property
    def replaced(self) -> list[ir.Value]:
        """The values that `values` gives."""
        return [*(w.read for w in self._weights), *(b.read for b in self._biases), *self._starts]

    def groups(self) -> list[dict[str, object]]:
        """Parameter groups of an optimiser, with their rates."""
        rates = zip(self._deltas(), (_WEIGHT_RATE, _BIAS_RATE, _RANGE_RATE), strict=True)
        return [{"params": deltas, "lr": rate} for deltas, rate in rates if deltas]

    def clip(self) -> None:
        """Keep the changes small, after an update."""
        with torch.no_grad():
            for weights in self._weights:
                weights.delta.clamp_(-_MAX_DELTA, _MAX_DELTA)
            for ranges in self._ranges:
                ranges.delta.clamp_(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)

    def values(self) -> dict[ir.Value, Tensor]:
        """What the graph reads now in the place of its constants, differentiable."""
        values = {w.read: _rounded(w.steps + w.delta) * w.scale for w in self._weights}
        values |= {b.read: b.start + b.unit * b.delta for b in self._biases}
        for ranges in self._ranges:
            factor = torch.exp(ranges.delta)
            values |= {scale: self._starts[scale] * factor for scale in ranges.scales}
        return values

    def store(self) -> None:
        """Write integers and scales into the graph."""
        with torch.no_grad():
            values = {value: tensor.numpy() for value, tensor in self.values().items()}
            for weights in self._weights:
                steps = _rounded(weights.steps + weights.delta).numpy()
                weights.constant.store(steps.astype(np.int8), weights.constant.scale)
        for scale in self._starts:
            scale.const_value = ir.tensor(np.array(values[scale], np.float32), name=scale.name)
        for bias in self._biases:
            weight_scale = integer_constant(bias.node, 1)
            if weight_scale is None:  # `_biases` takes none without
                continue
            steps = bias_scale(_input_scale(bias.node), weight_scale.scale, len(bias.constant.integers))
            limit = BIAS_LIMIT - 1
            integers = np.clip(np.rint(values[bias.read].astype(np.float64) / steps), -limit, limit)
            bias.constant.store(integers.astype(np.int32), steps)

    def _deltas(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return [w.delta for w in self._weights], [b.delta for b in self._biases], [r.delta for r in self._ranges]

    def _all(self) -> Iterator[Tensor]:
        return itertools.chain(*self._deltas())


def _weights(units: list[Unit]) -> Iterator[_Weights]:
    for unit in units:
        constant, read = integer_constant(unit.node, 1), unit.node.inputs[1] if len(unit.node.inputs) > 1 else None
        if constant is None or read is None:
            continue
        shape = [-1 if axis == constant.axis else 1 for axis in range(constant.integers.ndim)]
        steps = torch.from_numpy(constant.integers.astype(np.float32))
        scale = torch.from_numpy(np.array(constant.scale)).reshape(shape)
        yield _Weights(constant, read, scale, steps, torch.zeros_like(steps))


def _biases(units: list[Unit]) -> Iterator[_Bias]:
    for unit in units:
        constant, read = integer_constant(unit.node, 2), unit.node.inputs[2] if len(unit.node.inputs) > 2 else None
        if constant is None or read is None or integer_constant(unit.node, 1) is None:
            continue
        start = torch.from_numpy((constant.integers.astype(np.float64) * constant.scale).astype(np.float32))
        yield _Bias(unit.node, constant, read, start, _unit(unit, start), torch.zeros_like(start))


def _unit(unit: Unit, bias: Tensor) -> float:
    """One step of the output; where that stays in float a hundredth of the bias's size."""
    scale = _scale_of(unit.outputs[0])
    return float(_array(scale)) if scale is not None else max(0.01 * float(bias.abs().mean()), 1e-6)


def _range_groups(graph: ir.Graph, units: list[Unit]) -> list[tuple[ir.Value, ...]]:
    """The scales of activations, those in one tuple to be moved together; without those that must stay."""
    written = {node.inputs[1]: node for node in graph if node.op_type == "QuantizeLinear"}
    scales = [scale for scale in written if scale is not None]
    group = {scale: {scale} for scale in scales}
    fixed = {s for s, node in written.items() if node.inputs[0] is not None and node.inputs[0].is_graph_input()}
    for unit in units:
        rule = OPERATORS.get(unit.node.op_type)
        if rule is None or rule.output is Output.OWN:
            continue
        tied = [scale for value in (*unit.inputs, *unit.outputs) if (scale := _scale_of(value)) is not None]
        if rule.output is Output.FIXED:
            fixed.update(scale for value in unit.outputs if (scale := _scale_of(value)) is not None)
            continue
        if any(_is_constant_operand(value) for value in unit.node.inputs[: rule.data_inputs]):
            fixed.update(tied)
        merged = set[ir.Value]().union(*(group[scale] for scale in tied))
        group.update(dict.fromkeys(merged, merged))
    done, groups = set[ir.Value](), list[tuple[ir.Value, ...]]()
    for scale in scales:
        if scale not in done and fixed.isdisjoint(group[scale]):
            groups.append(tuple(member for member in scales if member in group[scale]))
        done |= group[scale]
    return groups


def _is_constant_operand(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear" and _scale_of(producer.inputs[0]) is None


def _scale_of(integers: ir.Value | None) -> ir.Value | None:
    """The scale that a QuantizeLinear wrote `integers` with."""
    producer = None if integers is None else integers.producer()
    return producer.inputs[1] if producer is not None and producer.op_type == "QuantizeLinear" else None


def _input_scale(node: ir.Node) -> float:
    """Of the activation that the weighted operator `node` reads."""
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    scale = None if producer is None else producer.inputs[1]
    return math.nan if scale is None else float(_array(scale))


def _array(scale: ir.Value) -> Tensor:
    array = constant_value(scale)
    return torch.tensor(math.nan) if array is None else torch.from_numpy(np.array(array, np.float32))


def _rounded(steps: Tensor) -> Tensor:
    """Whole steps in [-127, 127]; gradients pass as if nothing had been rounded."""
    return steps + (steps.round().clamp(-_LARGEST, _LARGEST) - steps).detach()
