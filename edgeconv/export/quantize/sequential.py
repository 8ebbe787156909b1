"""Walks the fp32 graph and the Q/DQ graph side by side and refines the integers of one layer after the other.

Each layer is refined with the inputs that it will really get: those that the layers before it, already refined,
compute on integers. Both graphs run a few calibration samples, and a tensor is dropped after its last reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_ir as ir

from edgeconv.export.executor import Array, GraphStepper, Piece, ahead
from edgeconv.export.quantize.rounding import round_weights
from edgeconv.export.quantize.units import IntegerConstant, Unit, integer_constant, operator_units
from edgeconv.export.quantize.weights import BIAS_LIMIT, bias_scale
from edgeconv.graph import constant_value

__all__ = ["Layer", "Refinement", "correct_bias", "run_sequential_pass"]

_FIXED_POINT_STEPS = 3


@dataclasses.dataclass(frozen=True)
class Layer:
    """A weighted operator with an integer `bias`, between the two graphs; arrays are per sample, channels on axis 1.

    `target` is what the fp32 layer returns, activation included. `result` is what the quantised one computes before
    its activation; a refinement that changes the layer's constants changes `result` in place accordingly. `bounds`
    are those of the fused activation, None without one.
    """

    node: ir.Node
    bias: IntegerConstant
    bounds: tuple[float, float] | None
    target: Sequence[Array]
    result: Sequence[Array]


class Refinement(Protocol):
    """Improves the integers of one layer; returns whether it changed any."""

    def __call__(self, layer: Layer) -> bool:
        """Refine `layer`."""
        ...


def run_sequential_pass(
    fp32: ir.Model, qdq: ir.Model, samples: Sequence[Mapping[str, Array]], refine: Refinement
) -> set[str]:
    """Round the weights of each layer of `qdq` anew, in graph order, and call `refine` on it.

    Args:
        fp32: the graph that was quantised; its nodes have the same names.
        qdq: the Q/DQ graph, changed in place.
        samples: a few calibration samples.
        refine: what to do with a layer.

    Returns:
        The names of the changed nodes.
    """
    units = operator_units(qdq.graph)
    nodes = {node.name: node for node in fp32.graph}
    fp32_pieces = {unit: _fp32_piece(unit, nodes) for unit in units if unit.node.name in nodes}
    pieces = {unit: _pieces(unit) for unit in units}
    expected = GraphStepper(fp32, fp32_pieces.values(), samples)
    computed = GraphStepper(qdq, [piece for parts in pieces.values() for piece in parts], samples)
    changed: set[str] = set()

    def targets(unit: Unit) -> list[list[Array]]:
        return list(expected.step(fp32_pieces[unit]).values()) if unit in fp32_pieces else []

    for unit, target in zip(units, ahead(targets, units), strict=True):
        first, *rest = pieces[unit]
        if _bias(unit) is not None:
            _round(unit.node, nodes[unit.node.name], computed.values)
        bias = _bias(unit)
        result = computed.step(first)
        if bias is not None:
            layer = Layer(unit.node, bias, _bounds(unit), target[0], result[first.outputs[0]])
            if refine(layer):
                changed.add(str(unit.node.name))
        for piece in rest:
            computed.step(piece)
    return changed


def correct_bias(layer: Layer) -> bool:
    """Move the bias so that the mean of every channel, after the activation, is that of the fp32 layer.

    With a ReLU the mean is not linear in the bias: ``d += mean(target) - mean(relu(result + d))``, three times.
    Rounding moves means of whole channels (M. Nagel et al., "Data-free quantization through weight equalization and
    bias correction", ICCV 2019); measured here on data and behind the activation instead of derived from BatchNorm.
    """
    shape = (1, -1) + (1,) * (layer.result[0].ndim - 2)
    wanted = _channel_means(layer.target)
    shift = np.zeros_like(wanted)
    for _ in range(1 if layer.bounds is None else _FIXED_POINT_STEPS):
        moved = [result + shift.reshape(shape) for result in layer.result]
        if layer.bounds is not None:
            for array in moved:
                np.clip(array, *layer.bounds, out=array)
        shift += wanted - _channel_means(moved)
    old = layer.bias.integers.astype(np.float64)
    new = np.rint(old + shift.astype(np.float64) / layer.bias.scale)
    new = np.where(np.abs(new) < BIAS_LIMIT, new, old)
    layer.bias.store(new.astype(np.int32), layer.bias.scale)
    applied = ((new - old) * layer.bias.scale).astype(np.float32)
    for result in layer.result:
        result += applied.reshape(shape)
    return bool((new != old).any())


def _round(node: ir.Node, original: ir.Node, values: Mapping[str, Sequence[Array]]) -> None:
    """Give `node` the weights of `round_weights`, and its bias the scale that follows from theirs."""
    current, bias, weights = integer_constant(node, 1), integer_constant(node, 2), constant_value(original.inputs[1])
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    if current is None or bias is None or weights is None or source is None or source.op_type != "DequantizeLinear":
        return
    integers, scale, zero_point = source.inputs[0], constant_value(source.inputs[1]), constant_value(source.inputs[2])
    if integers is None or scale is None or zero_point is None or len(current.value.uses()) > 1:
        return
    inputs = [(x.astype(np.float32) - np.float32(zero_point)) * scale for x in values[str(integers.name)]]
    rounded = round_weights(node, weights, current, inputs)
    if rounded is None:
        return
    scales = bias_scale(float(scale), rounded.scale, len(bias.integers))
    current.store(rounded.integers, rounded.scale)
    bias.store(np.rint(bias.integers.astype(np.float64) * bias.scale / scales).astype(np.int32), scales)


def _fp32_piece(unit: Unit, nodes: Mapping[str | None, ir.Node]) -> Piece:
    first = nodes[unit.node.name]
    last = first if unit.activation is None else nodes[unit.activation.name]
    inputs = (value for value in first.inputs if value is not None and constant_value(value) is None)
    outputs = (value for value in last.outputs if value.uses() or value.is_graph_output())
    return Piece(tuple(dict.fromkeys(str(value.name) for value in inputs)), tuple(str(v.name) for v in outputs))


def _pieces(unit: Unit) -> list[Piece]:
    """The unit in one piece; a layer with an integer bias in two, parted between operator and activation."""
    inputs, outputs = (tuple(str(value.name) for value in values) for values in (unit.inputs, unit.outputs))
    if _bias(unit) is None:
        return [Piece(inputs, outputs)]
    result = (str(unit.result.name),)
    return [Piece(inputs, result), Piece(result, outputs)]


def _bounds(unit: Unit) -> tuple[float, float] | None:
    if unit.activation is None:
        return None
    return (0.0, float("inf")) if unit.activation.op_type == "Relu" else (0.0, 6.0)


def _bias(unit: Unit) -> IntegerConstant | None:
    return integer_constant(unit.node, 2) if unit.node.op_type in ("Conv", "ConvTranspose", "Gemm") else None


def _channel_means(arrays: Sequence[Array]) -> Array:
    """Mean of each channel (axis 1) over all samples of equal shape."""
    axes = tuple(axis for axis in range(arrays[0].ndim) if axis != 1)
    return np.asarray(np.mean([array.mean(axis=axes) for array in arrays], axis=0), np.float32)
