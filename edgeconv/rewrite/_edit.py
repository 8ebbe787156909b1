"""Editing ONNX graphs: constants, substitution, and convolutions and matrix products under one view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value, register_constant

__all__ = [
    "AffineLayer",
    "Array",
    "add_constant",
    "by_channel",
    "constant_operand",
    "ints",
    "replace_constant",
    "substitute",
]

Array = np.ndarray[Any, Any]


def add_constant(graph: ir.Graph, stem: str, array: Array) -> ir.Value:
    """Register `array` as a new initialiser named `stem`, or `stem_1`, … when that name is taken."""
    taken = {output.name for node in graph for output in node.outputs} | {value.name for value in graph.inputs}
    name, count = stem, 0
    while name in graph.initializers or name in taken:
        count += 1
        name = f"{stem}_{count}"
    return register_constant(graph, name, array)


def replace_constant(node: ir.Node, index: int, role: str, array: Array) -> None:
    """Let input `index` of `node` read `array` as float32, under the old name when nothing else reads that.

    Args:
        node: a node of a graph.
        index: of the input; it may be empty.
        role: what the constant is to the node, for the name of a new one.
        array: the values.
    """
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"{node.name} belongs to no graph")
    old, name = node.inputs[index], f"{node.name}.{role}"
    node.replace_input_with(index, None)
    if old is not None and old.name is not None and old.is_initializer() and not old.uses():
        name = old.name
        del graph.initializers[name]
    node.replace_input_with(index, add_constant(graph, name, array.astype(np.float32)))


def substitute(old: ir.Value, new: ir.Value) -> bool:
    """Let every reader of `old` read `new`; a graph output keeps its port's name.

    Returns:
        False, with nothing changed, when both are ports of the graph and so neither can give up its name.
    """
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return True
    if new.is_graph_output() or new.producer() is None:
        return False
    name = old.name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name, new.name = f"{name}_before", name
    return True


def ints(node: ir.Node, attribute: str, default: int) -> tuple[int, ...]:
    """An attribute of one integer for each spatial axis or side; `default` repeated twice when absent."""
    values = node.attributes.get_ints(attribute)
    return tuple(int(value) for value in values) if values is not None else (default, default)


def constant_operand(node: ir.Node) -> tuple[ir.Value, Array] | None:
    """Split a binary node into (computed operand, constant operand); None when it has no such pair."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    first, second = constant_value(node.inputs[0]), constant_value(node.inputs[1])
    if (first is None) == (second is None):
        return None
    return (node.inputs[1], first) if first is not None else (node.inputs[0], second)  # type: ignore[return-value]


def by_channel(array: Array, rank: int) -> Array | None:
    """An operand that broadcasts against a tensor of `rank` axes as (channel, rest…), or None when it has a batch.

    The channel axis is 1; the result has `rank - 1` axes, and size 1 where the operand is repeated.
    """
    if array.ndim > rank:
        return None
    padded = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return padded[0] if padded.shape[0] == 1 else None


@dataclass
class AffineLayer:
    """A Conv, ConvTranspose, Gemm or MatMul with constant weights, in float64.

    `weight` is laid out as Conv's, (output channels, input channels of a group, *kernel), whatever the node's own
    layout; `bias` has one element for each output channel. Change them, then `write` them back as float32.
    """

    node: ir.Node
    weight: Array
    bias: Array
    group: int

    @classmethod
    def read(cls, node: ir.Node) -> AffineLayer | None:
        """The layer that `node` is; None for another operator, weights that are computed, or a Gemm with transA."""
        if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS:
            return None
        stored = constant_value(node.inputs[1])
        offset = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
        if (
            stored is None
            or stored.dtype != np.float32
            or (offset is None and len(node.inputs) > 2 and node.inputs[2] is not None)
        ):
            return None
        # Beyond two axes the channels of a product are the last axis, not axis 1.
        if node.op_type == "MatMul" and (
            stored.ndim != 2 or node.outputs[0].shape is None or node.outputs[0].shape.rank() != 2
        ):
            return None
        if node.op_type == "Gemm" and node.attributes.get_int("transA"):
            return None
        group = node.attributes.get_int("group", 1)
        weight = _canonical(node, stored.astype(np.float64), group)
        bias = np.zeros(weight.shape[0])
        if offset is not None:
            if offset.size not in (1, weight.shape[0]):
                return None
            bias = np.broadcast_to(offset.astype(np.float64).reshape(-1), bias.shape).copy()
        if node.op_type == "Gemm":
            weight = weight * node.attributes.get_float("alpha", 1.0)
            bias = bias * node.attributes.get_float("beta", 1.0)
        return cls(node, weight, bias, group)

    @property
    def takes_bias(self) -> bool:
        """Whether the operator has a bias at all; a MatMul has none."""
        return self.node.op_type != "MatMul"

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        """Number of input channels over all groups."""
        return int(self.weight.shape[1]) * self.group

    def scale_outputs(self, factors: Array) -> None:
        """Multiply output channel c by `factors[c]`."""
        self.weight = self.weight * factors.reshape(-1, *(1,) * (self.weight.ndim - 1))
        self.bias = self.bias * factors

    def scale_inputs(self, factors: Array) -> None:
        """Multiply the weights that read input channel c by `factors[c]`."""
        kernel = self.weight.shape[1:]
        grouped = self.weight.reshape(self.group, -1, *kernel)
        columns = factors.reshape(self.group, 1, kernel[0], *(1,) * (len(kernel) - 1))
        self.weight = (grouped * columns).reshape(self.weight.shape)

    def is_pointwise(self) -> bool:
        """Whether it is a 1x1 Conv without padding and groups; it may have strides."""
        return (
            self.node.op_type == "Conv"
            and self.group == 1
            and set(self.weight.shape[2:]) == {1}
            and not any(ints(self.node, "pads", 0))
            and self.node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        )

    def write(self) -> None:
        """Store weights and bias as new float32 initialisers; tensors shared with other nodes stay as they are."""
        node = self.node
        replace_constant(node, 1, "weight", _stored(node, self.weight, self.group))
        if node.op_type == "Gemm":
            node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)
            node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
        if "kernel_shape" in node.attributes:
            node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", self.weight.shape[2:])
        has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
        if self.takes_bias and (has_bias or self.bias.any()):
            node.resize_inputs(3)
            replace_constant(node, 2, "bias", self.bias)


_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def _canonical(node: ir.Node, stored: Array, group: int) -> Array:
    if node.op_type == "ConvTranspose":
        return _swapped(stored, group)
    return stored if _rows_are_outputs(node) else stored.T


def _stored(node: ir.Node, weight: Array, group: int) -> Array:
    if node.op_type == "ConvTranspose":
        return _swapped(weight, group)
    return weight if _rows_are_outputs(node) else weight.T


def _rows_are_outputs(node: ir.Node) -> bool:
    return node.op_type == "Conv" or (node.op_type == "Gemm" and bool(node.attributes.get_int("transB")))


def _swapped(weight: Array, group: int) -> Array:
    """(all inputs, outputs of a group, *kernel) to (all outputs, inputs of a group, *kernel), and back."""
    rows, columns, *kernel = weight.shape
    grouped: Array = weight.reshape(group, rows // group, columns, *kernel).swapaxes(1, 2)
    return grouped.reshape(group * columns, rows // group, *kernel)
