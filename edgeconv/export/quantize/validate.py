"""Checks a Q/DQ graph against the contract that every lowering relies on, instead of trusting who wrote it."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array
from edgeconv.export.quantize.operators import FIXED_OUTPUTS, OPERATORS, Output, weight_axis
from edgeconv.export.quantize.units import Unit, integer_constant, operator_units
from edgeconv.export.quantize.weights import BIAS_LIMIT, bias_scale
from edgeconv.graph import constant_value, describe

__all__ = ["validate_qdq"]

_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
_UINT8_SHIFT = 128
_Quantiser = tuple[float, int]


def validate_qdq(model: ir.Model, *, symmetric: bool = False, float_nodes: Collection[str] = ()) -> None:
    """Check the Q/DQ graph `model`, with int8 activations or its uint8 twin.

    1. Activations and constant operands: a float32 scale of shape [], positive and finite; a zero point of shape []
       and the integers' type, the same type in the whole graph; 0 everywhere when `symmetric`.
    2. Weights: int8 in [-127, 127], a scale for each output channel, zero points 0, on the right axis.
    3. Biases: int32 within 30 bits, scale = input scale * weight scale, zero points 0, axis 0.
    4. An operator that moves values has one quantiser for all data inputs and outputs.
    5. Sigmoid, Softmax and Tanh have the output quantisers of the LiteRT specification, unless `symmetric`.
    6. Every float graph input is quantised at once; every float graph output comes from a DequantizeLinear; unless
       `symmetric`, where both stay in float.

    Of operators in `float_nodes`, by node name, only the quantisers around them are checked.

    Raises:
        ExportError: the first rule that is broken, with the node and what was expected.
    """
    unsigned = _is_unsigned(model.graph)
    for node in model.graph:
        if node.op_type in _QUANTISERS:
            _check_quantiser(node, unsigned, symmetric)
    for unit in operator_units(model.graph):
        if unit.node.name in float_nodes:  # its neighbours' quantisers may be right before and behind it
            continue
        quantisers = _data_quantisers(unit)
        if integer_constant(unit.node, 1) is not None or (quantisers and OPERATORS[unit.node.op_type].weighted):
            _check_weights(unit)
            _check_bias(unit)
        if quantisers is None:
            continue
        _check_output(unit, quantisers, unsigned, symmetric)
    if not symmetric:
        _check_ports(model.graph)


def _is_unsigned(graph: ir.Graph) -> bool:
    """Whether the first QuantizeLinear writes uint8."""
    for node in graph:
        if node.op_type == "QuantizeLinear":
            return _constant(node, 2, "zero point").dtype == np.uint8
    return False


def _check_quantiser(node: ir.Node, unsigned: bool, symmetric: bool) -> None:
    scale, zero_point = _constant(node, 1, "scale"), _constant(node, 2, "zero point")
    if scale.dtype != np.float32 or not np.isfinite(scale).all() or not (scale > 0).all():
        raise _broken(node, "its scale is not float32, positive and finite")
    if scale.shape != zero_point.shape:
        raise _broken(node, f"its scale has shape {scale.shape}, its zero point {zero_point.shape}")
    if scale.ndim == 0:
        _check_scalar(node, zero_point, np.dtype(np.uint8 if unsigned else np.int8), symmetric)
        return
    integers = constant_value(node.inputs[0])
    axis = node.attributes.get("axis")
    if node.op_type != "DequantizeLinear" or integers is None:
        raise _broken(node, f"an activation has a scale of shape {scale.shape}, expected a true scalar of shape []")
    if axis is None or scale.shape != (integers.shape[axis.as_int()],):
        raise _broken(node, f"its scale has shape {scale.shape}, expected one value for each channel of its axis")
    if integers.dtype not in (np.int8, np.int32) or zero_point.dtype != integers.dtype or zero_point.any():
        raise _broken(node, "weights must be int8 and biases int32, with zero points 0 of the same type")


def _check_scalar(node: ir.Node, zero_point: Array, expected: np.dtype[np.generic], symmetric: bool) -> None:
    integers = constant_value(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
    found = zero_point.dtype if integers is None else integers.dtype
    if zero_point.dtype != expected or found != expected:
        raise _broken(node, f"its zero point is {zero_point.dtype} and its integers are {found}, expected {expected}")
    if symmetric and int(zero_point) != (_UINT8_SHIFT if expected == np.uint8 else 0):
        raise _broken(node, f"its zero point is {int(zero_point)}, expected 0 with symmetric activations")


def _data_quantisers(unit: Unit) -> tuple[list[_Quantiser], list[_Quantiser]] | None:
    """The scalar quantisers of a unit's data inputs and of its outputs; None if any is missing: a float operator."""
    rule = OPERATORS.get(unit.node.op_type)
    if rule is None or not unit.inputs:
        return None
    data = [value for value in unit.node.inputs[: rule.data_inputs] if value is not None]
    if rule.weighted and len(data) > 1 and _is_weights(data[1]):
        data = data[:1]
    inputs = [_scalar(value.producer(), "DequantizeLinear") for value in data]
    outputs = [_scalar(value.producer(), "QuantizeLinear") for value in unit.outputs]
    known_inputs, known_outputs = [q for q in inputs if q is not None], [q for q in outputs if q is not None]
    if len(known_inputs) < len(inputs) or len(known_outputs) < len(outputs):
        return None
    return known_inputs, known_outputs


def _is_weights(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear" and _constant(producer, 1, "scale").ndim == 1


def _scalar(node: ir.Node | None, op_type: str) -> _Quantiser | None:
    if node is None or node.op_type != op_type:
        return None
    scale, zero_point = _constant(node, 1, "scale"), _constant(node, 2, "zero point")
    return None if scale.ndim else (float(scale), int(zero_point))


def _check_weights(unit: Unit) -> None:
    node = unit.node
    weights = integer_constant(node, 1)
    if weights is None:  # a product of two activations
        return
    if weights.integers.dtype != np.int8 or weights.integers.min(initial=0) < -127:
        raise _broken(node, "its weights are not int8 in [-127, 127]")
    expected = weight_axis(node, weights.integers.ndim)
    if weights.axis != expected:
        raise _broken(node, f"its weights have scales along axis {weights.axis}, expected {expected}")


def _check_bias(unit: Unit) -> None:
    node = unit.node
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return
    bias, weights = integer_constant(node, 2), integer_constant(node, 1)
    data = node.inputs[0].producer() if node.inputs[0] is not None else None
    if bias is None or weights is None or data is None:
        raise _broken(node, "its bias is not an integer constant behind a DequantizeLinear")
    largest = np.abs(bias.integers.astype(np.int64)).max(initial=0)
    if bias.integers.dtype != np.int32 or bias.axis != 0 or largest >= BIAS_LIMIT:
        raise _broken(node, f"its bias is not int32 along axis 0, below 2^{int(math.log2(BIAS_LIMIT))}")
    expected = bias_scale(float(_constant(data, 1, "scale")), weights.scale.astype(np.float32), bias.integers.size)
    if not np.allclose(bias.scale, expected, rtol=1e-6, atol=0):
        raise _broken(node, "the scale of its bias is not input scale * weight scale")


def _check_output(
    unit: Unit, quantisers: tuple[list[_Quantiser], list[_Quantiser]], unsigned: bool, symmetric: bool
) -> None:
    inputs, outputs = quantisers
    rule = OPERATORS[unit.node.op_type].output
    if rule is Output.SHARED and len({*inputs, *outputs}) > 1:
        raise _broken(unit.node, f"inputs and outputs have different quantisers: {sorted({*inputs, *outputs})}")
    if rule is Output.FIXED and not symmetric:
        grid = FIXED_OUTPUTS[unit.node.op_type]
        expected = (grid.scale, grid.zero_point + (_UINT8_SHIFT if unsigned else 0))
        if outputs != [expected]:
            raise _broken(unit.node, f"its output has scale and zero point {outputs}, expected {expected}")


def _check_ports(graph: ir.Graph) -> None:
    for value in graph.inputs:
        readers = value.consumers()
        if value.dtype == ir.DataType.FLOAT and [node.op_type for node in readers] not in ([], ["QuantizeLinear"]):
            raise ExportError(f"The Q/DQ graph is wrong: graph input {value.name!r} is not quantised right behind it.")
    for value in graph.outputs:
        producer = value.producer()
        if constant_value(value) is not None:  # the same whatever is put in
            continue
        if value.dtype == ir.DataType.FLOAT and (producer is None or producer.op_type != "DequantizeLinear"):
            raise ExportError(f"The Q/DQ graph is wrong: graph output {value.name!r} is not quantised right before it.")


def _constant(node: ir.Node, index: int, what: str) -> Array:
    array = constant_value(node.inputs[index]) if len(node.inputs) > index else None
    if array is None:
        raise _broken(node, f"its {what} is missing or not a constant")
    return array


def _broken(node: ir.Node, what: str) -> ExportError:
    return ExportError(
        f"The Q/DQ graph is wrong at {describe(node)}: {what}.", "This is a defect of the quantiser; please report it."
    )
