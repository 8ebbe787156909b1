"""Multiply-accumulates and weights of ONNX nodes with static shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from edgeconv.graph import constant_value, static_shape

__all__ = ["count_macs", "count_weights"]


_SCALED = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization", "PRelu")
_BATCH_NORM_TRAINED = 3  # the input, scale and shift come first


def count_macs(node: ir.Node) -> int:
    """Multiply-accumulates of one convolution or matrix product; 0 for every other operator.

    A product of two constants, such as the factors of a gate map, is computed when the file is loaded: 0, too.
    """
    counter = _COUNTERS.get(node.op_type)
    return counter(node) if counter else 0


def count_weights(node: ir.Node) -> int:
    """Trained numbers that `node` reads, where it is a layer with weights; else 0.

    A bias of zeros is one that the exporter adds to a layer without one, and the statistics of a normalisation were
    observed and not trained.
    """
    if node.op_type not in _COUNTERS and node.op_type not in _SCALED:
        return 0
    last = _BATCH_NORM_TRAINED if node.op_type == "BatchNormalization" else len(node.inputs)
    constants = [constant_value(value) for value in node.inputs[1:last]]
    if node.op_type == "Conv" and len(constants) > 1 and constants[1] is not None and not constants[1].any():
        constants.pop()
    return sum(constant.size for constant in constants if constant is not None)


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    return static_shape(value) if value is not None else ()


def _convolution(node: ir.Node) -> int:
    weight, output = _shape(node.inputs[1]), _shape(node.outputs[0])
    return math.prod(output) * math.prod(weight[1:])


def _transposed(node: ir.Node) -> int:
    weight, source = _shape(node.inputs[1]), _shape(node.inputs[0])
    return math.prod(source) * math.prod(weight[1:])


def _product(node: ir.Node) -> int:
    if all(map(_is_stored, node.inputs[:2])):
        return 0
    left, output = _shape(node.inputs[0]), _shape(node.outputs[0])
    transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transA", 0))
    return math.prod(output) * (left[-2] if transposed else left[-1])


def _is_stored(value: ir.Value | None) -> bool:
    """Whether it is a constant, or one that is stored in another type."""
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "Cast":
        value = producer.inputs[0]
    return constant_value(value) is not None


_COUNTERS: dict[str, Callable[[ir.Node], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _product,
    "MatMul": _product,
}
