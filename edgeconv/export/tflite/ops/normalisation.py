"""Normalisations: composites of float operators, in whatever layout the input has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.graph import Constant
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.ops.elementwise import binary
from edgeconv.export.tflite.ops.reduction import reduce
from edgeconv.export.tflite.registry import lowers

__all__: list[str] = []


@lowers("BatchNormalization")
def _batch_normalisation(op: Op) -> Operand:
    if op.attr("training_mode", 0):
        op.refuse("it is in training mode", "Export the model in evaluation mode (model.eval()).")
    scale, bias, mean, variance = (op.numbers(index, "a parameter").astype(np.float64) for index in range(1, 5))
    factor = scale / np.sqrt(variance + op.attr("epsilon", 1e-5))
    x = op.operand(0)
    return _affine(op, x, _per_channel(factor, x), _per_channel(bias - mean * factor, x))


@lowers("LayerNormalization")
def _layer_normalisation(op: Op) -> Operand:
    x = op.operand(0)
    axes = range(op.attr("axis", -1) % len(x.shape), len(x.shape))
    normalised = _standardised(op, x, axes, op.attr("epsilon", 1e-5))
    scale = op.numbers(1, "its scale")
    return _affine(op, normalised, scale, op.numbers(2, "its bias") if op.has(2) else np.zeros(()))


@lowers("InstanceNormalization")
def _instance_normalisation(op: Op) -> Operand:
    x = op.operand(0)
    normalised = _standardised(op, x, range(2, len(x.shape)), op.attr("epsilon", 1e-5))
    scale, bias = op.numbers(1, "its scale"), op.numbers(2, "its bias")
    return _affine(op, normalised, _per_channel(scale, x), _per_channel(bias, x))


def _standardised(op: Op, x: Operand, axes: Sequence[int], epsilon: float) -> Operand:
    centred = binary(op, "SUB", x, reduce(op, "MEAN", x, axes, keep=True), schema.SubOptionsT())
    square = op.emit_like("MUL", centred, centred.tensor, options=schema.MulOptionsT())
    variance = reduce(op, "MEAN", square, axes, keep=True)
    deviation = binary(op, "ADD", variance, epsilon, schema.AddOptionsT())
    return binary(op, "MUL", centred, op.emit_like("RSQRT", deviation), schema.MulOptionsT())


def _affine(op: Op, x: Operand, scale: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Operand:
    if np.any(scale != 1):
        x = binary(op, "MUL", x, Constant(scale.astype(np.float32)), schema.MulOptionsT())
    if np.any(bias != 0):
        x = binary(op, "ADD", x, Constant(bias.astype(np.float32)), schema.AddOptionsT())
    return x


def _per_channel(values: npt.NDArray[Any], x: Operand) -> npt.NDArray[Any]:
    return values.reshape(-1, *[1] * (len(x.shape) - 2))
