"""Writes the plan into the graph: QuantizeLinear and DequantizeLinear nodes, integer weights, biases and operands.

The float tensor keeps its name; its integers are called ``NAME_q`` and what its readers read ``NAME_dq``. A graph
output keeps the port's name for what the caller reads, and the float tensor before it becomes ``NAME_float``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.executor import Array
from edgeconv.export.quantize.grid import Grid
from edgeconv.export.quantize.groups import GridAssignment
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import Output, weight_axis
from edgeconv.export.quantize.placement import FLOAT_REASON
from edgeconv.export.quantize.plan import Plan
from edgeconv.export.quantize.weights import bias_scale, quantise_bias, quantise_weights
from edgeconv.graph import constant_value, describe

__all__ = ["insert_quantisers"]


def insert_quantisers(
    graph: ir.Graph, plan: Plan, assignment: GridAssignment, *, with_bias: bool, symmetric: bool
) -> dict[str, tuple[int, ...]]:
    """Turn `graph`, in place, into the Q/DQ graph of `plan`.

    Args:
        graph: the graph that was planned.
        plan: its operations.
        assignment: the grid of each tensor.
        with_bias: give every Conv, ConvTranspose and Gemm a bias, zero where it had none, for later correction.
        symmetric: whether constant operands have zero point 0.

    Returns:
        For each weighted operator (by node name) the channels whose weight scale was raised.

    Raises:
        ExportError: weights that are not finite.
    """
    writer = _Writer(graph)
    raised: dict[str, tuple[int, ...]] = {}
    for operation in plan.operations:
        if not operation.is_int8:
            operation.node.metadata_props[FLOAT_REASON] = operation.reason
            continue
        if operation.rule.weighted and constant_value(operation.node.inputs[1]) is not None:
            raised[str(operation.node.name)] = _quantise_parameters(writer, operation, assignment, with_bias)
        shared = assignment.grids[operation.outputs[0]] if operation.rule.output is Output.SHARED else None
        for index, array in operation.constants:
            grid = shared or Grid.covering(float(array.min()), float(array.max()), symmetric=symmetric)
            operation.node.replace_input_with(index, writer.operand(operation.node, index, array, grid))
    for value in plan.quantised:
        readers = _requantising(value, assignment.requantised)
        dequantised = writer.quantise(value, assignment.grids[value])
        for grid, nodes in readers.items():
            again = writer.requantise(dequantised, grid)
            for node in nodes:
                for index, read in enumerate(node.inputs):
                    if read is dequantised:
                        node.replace_input_with(index, again)
    _drop_unused_constants(graph)
    return raised


class _Writer:
    """Adds nodes and initialisers with unused names to a graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names = {str(value.name) for value in [*graph.inputs, *graph.initializers.values()]}
        for node in graph:
            self._names |= {str(node.name), *(str(output.name) for output in node.outputs)}

    def constant(self, name: str, array: Array) -> ir.Value:
        """A new initialiser; 0-d arrays stay 0-d."""
        name = self._unused(name)
        tensor = ir.tensor(np.asarray(array, order="C"), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._graph.register_initializer(value)
        return value

    def dequantised_constant(
        self, node: ir.Node, name: str, values: Array, scale: Array, zero_point: Array, axis: int | None = None
    ) -> ir.Value:
        """``DequantizeLinear`` of a new integer initialiser, right before `node`."""
        parameters = [self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero_point", zero_point)]
        inputs = [self.constant(f"{name}_q", values), *parameters]
        dequantise = self._node("DequantizeLinear", name, inputs, ir.DataType.FLOAT, values.shape, "dq", axis)
        self._graph.insert_before(node, dequantise)
        return dequantise.outputs[0]

    def operand(self, node: ir.Node, index: int, array: Array, grid: Grid) -> ir.Value:
        """A constant operand of `node` on the scalar quantiser `grid`."""
        name = str(node.inputs[index].name)  # type: ignore[union-attr]  # a constant that exists
        return self.dequantised_constant(
            node, name, grid.quantise(array), np.array(grid.scale, np.float32), np.array(grid.zero_point, np.int8)
        )

    def quantise(self, value: ir.Value, grid: Grid) -> ir.Value:
        """Put ``Q -> DQ`` behind `value` and let every reader, and the graph output, read the result."""
        name, is_output, uses = str(value.name), value.is_graph_output(), list(value.uses())
        if is_output:
            value.name = self._unused(f"{name}_float")
        nodes = self._pair(value, name, grid)
        for node, index in uses:
            node.replace_input_with(index, nodes[-1].outputs[0])
        self._insert_behind(value, nodes)
        if is_output:
            nodes[-1].outputs[0].name = name
            self._graph.outputs[list(self._graph.outputs).index(value)] = nodes[-1].outputs[0]
        return nodes[-1].outputs[0]

    def requantise(self, dequantised: ir.Value, grid: Grid) -> ir.Value:
        """A second ``Q -> DQ`` behind a dequantised tensor, onto another grid."""
        nodes = self._pair(dequantised, f"{dequantised.name}_requantised", grid)
        self._insert_behind(dequantised, nodes)
        return nodes[-1].outputs[0]

    def _pair(self, value: ir.Value, name: str, grid: Grid) -> list[ir.Node]:
        scale = self.constant(f"{name}_scale", np.array(grid.scale, np.float32))
        zero_point = self.constant(f"{name}_zero_point", np.array(grid.zero_point, np.int8))
        shape = None if value.shape is None else tuple(value.shape)
        quantise = self._node("QuantizeLinear", name, [value, scale, zero_point], ir.DataType.INT8, shape, "q")
        integers = quantise.outputs[0]
        dequantise = self._node("DequantizeLinear", name, [integers, scale, zero_point], ir.DataType.FLOAT, shape, "dq")
        return [quantise, dequantise]

    def _insert_behind(self, value: ir.Value, nodes: list[ir.Node]) -> None:
        producer = value.producer()
        if producer is not None:
            self._graph.insert_after(producer, nodes)
        elif len(self._graph):
            self._graph.insert_before(self._graph[0], nodes)

    def _node(
        self,
        op_type: str,
        name: str,
        inputs: list[ir.Value],
        dtype: ir.DataType,
        shape: tuple[int | ir.SymbolicDim, ...] | None,
        suffix: str,
        axis: int | None = None,
    ) -> ir.Node:
        output = ir.Value(
            name=self._unused(f"{name}_{suffix}"),
            type=ir.TensorType(dtype),
            shape=None if shape is None else ir.Shape(shape),
        )
        attributes = {} if axis is None else {"axis": axis}
        return ir.node(op_type, inputs, attributes, outputs=[output], name=self._unused(f"{name}/{op_type}"))

    def _unused(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._names:
            candidate, count = f"{name}_{count}", count + 1
        self._names.add(candidate)
        return candidate


def _quantise_parameters(
    writer: _Writer, operation: Operation, assignment: GridAssignment, with_bias: bool
) -> tuple[int, ...]:
    """Replace the weights and the bias of a weighted operator; the channels with a raised scale."""
    node = operation.node
    weights = constant_value(node.inputs[1])
    weights_value, data = node.inputs[1], node.inputs[0]
    if weights is None or weights_value is None or data is None:  # the plan holds only operators that have them
        return ()
    input_scale = assignment.grids[data].scale
    axis, channels = weight_axis(node, weights.ndim), _output_channels(node, weights)
    bias = _bias(node, channels, with_bias)
    output = assignment.grids.get(operation.outputs[0])
    quantised = quantise_weights(
        weights,
        axis,
        bias,
        input_scale=input_scale,
        output_scale=0.0 if output is None else output.scale,
        where=describe(node),
    )
    zeros = np.zeros(len(quantised.scale), np.int8)
    name = str(weights_value.name)
    node.replace_input_with(
        1, writer.dequantised_constant(node, name, quantised.values, quantised.scale, zeros, quantised.axis)
    )
    if bias is not None:
        scale = bias_scale(input_scale, quantised.scale, channels)
        given = node.inputs[2] if len(node.inputs) > 2 else None
        node.resize_inputs(3)
        name = f"{node.name}/bias" if given is None else str(given.name)
        zeros32 = np.zeros(channels, np.int32)
        node.replace_input_with(
            2, writer.dequantised_constant(node, name, quantise_bias(bias, scale), scale, zeros32, 0)
        )
    return quantised.raised


def _bias(node: ir.Node, channels: int, with_bias: bool) -> Array | None:
    if node.op_type == "MatMul":
        return None
    bias = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is None:
        return np.zeros(channels, np.float32) if with_bias else None
    return np.broadcast_to(bias.reshape(-1), (channels,))


def _output_channels(node: ir.Node, weights: Array) -> int:
    group = node.attributes.get("group")
    groups = group.as_int() if node.op_type == "ConvTranspose" and group is not None else 1
    return int(weights.shape[weight_axis(node, weights.ndim)]) * groups


def _requantising(value: ir.Value, requantised: Mapping[tuple[ir.Node, ir.Value], Grid]) -> dict[Grid, list[ir.Node]]:
    readers: dict[Grid, list[ir.Node]] = {}
    for (node, read), grid in requantised.items():
        if read is value:
            readers.setdefault(grid, []).append(node)
    return readers


def _drop_unused_constants(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
    for node in list(graph):
        if node.op_type == "Constant" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            graph.remove(node, safe=True)
