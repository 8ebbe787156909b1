"""Last 1x1 convolutions in a form that ONNX Runtime can let write float."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.float_outputs import writes_free_output
from edgeconv.graph import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    constant_value,
    named_node,
    only_reader,
    register_constant,
    replace_value,
    static_shape,
)

__all__ = ["is_pointwise", "join_pointwise", "spell_out_pointwise"]

_MARK = "pointwise.tensor"
_CHAIN = ("Transpose", "Reshape", "DequantizeLinear", "Gemm", "Reshape", "Transpose")
_DEFAULTS = {"strides": 1, "pads": 0, "group": 1}


def is_pointwise(node: ir.Node) -> bool:
    """Whether `node` is a convolution that multiplies each pixel's integers by one matrix of integers."""
    makers = [value.producer() for value in node.inputs if value is not None]
    if node.op_type != "Conv" or any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
        return False
    matrix = node.inputs[1]
    stored = kernel.inputs[0] if matrix is not None and (kernel := matrix.producer()) is not None else None
    weights = constant_value(stored)
    if matrix is None or stored is None or weights is None or weights.shape[2:] != (1, 1):
        return False
    if only_reader(stored) is not matrix.producer() or only_reader(matrix) is not node:  # both will have another shape
        return False
    set_values = ((node.attributes[name].value, plain) for name, plain in _DEFAULTS.items() if name in node.attributes)
    return all(np.all(np.equal(value, plain)) for value, plain in set_values)


def spell_out_pointwise(model: ir.Model) -> int:
    """Replace, in place, each 1x1 convolution whose quantiser `free_outputs` took out by a product over the pixels.

    ONNX Runtime's integer convolution writes integers, its integer product may write float. Between its channels-last
    convolutions ``NCHW -> NHWC -> (N H W, C) -> Gemm -> NHWC -> NCHW`` turns nothing round but the answer.

    Returns how many were replaced.
    """
    nodes = [node for node in model.graph if writes_free_output(node) and is_pointwise(node)]
    for node in nodes:
        _spell_out(model.graph, node)
    return len(nodes)


def join_pointwise(model: ir.Model) -> ir.Model:
    """The inverse, in place.

    Raises:
        ExportError: what is marked as such is something else.
    """
    for last in list(model.graph):
        if _MARK in last.metadata_props:
            _join(model.graph, last)
    return model


def _spell_out(graph: ir.Graph, node: ir.Node) -> None:
    read, kernel = (maker for value in node.inputs[:2] if value is not None and (maker := value.producer()) is not None)
    value = integers = read.inputs[0]
    batch, channels, height, width = static_shape(read.outputs[0])
    outputs = static_shape(node.outputs[0])
    rows, size = batch * height * width, outputs[1]
    _reshape_weights(kernel, [size, channels])
    steps: list[tuple[str, Sequence[int], list[ir.Value | None], dict[str, int | list[int]]]] = [
        ("Transpose", [batch, height, width, channels], [], {"perm": CHANNELS_LAST}),
        ("Reshape", [rows, channels], [], {}),
        ("DequantizeLinear", [rows, channels], list(read.inputs[1:]), {}),
        ("Gemm", [rows, size], list(node.inputs[1:]), {"transB": 1}),
        ("Reshape", [batch, height, width, size], [], {}),
        ("Transpose", outputs, [], {"perm": CHANNELS_FIRST}),
    ]
    for number, (operator, shape, others, attributes) in enumerate(steps):
        own = f"{node.name}/pixels{number}"
        if operator == "Reshape":
            others = [register_constant(graph, f"{own}/shape", np.array(shape, np.int64))]
        dtype = integers.dtype if number < 2 and integers is not None else ir.DataType.FLOAT
        made = named_node(operator, [value, *others], own, dtype, ir.Shape(shape), attributes)
        if operator == "Gemm":
            made.name = node.name
        graph.insert_before(node, made)
        value = made.outputs[0]
    made.metadata_props.update({**node.metadata_props, _MARK: str(read.outputs[0].name)})
    replace_value(graph, node.outputs[0], made.outputs[0])
    graph.remove(node, safe=True)
    if not read.outputs[0].uses() and not read.outputs[0].is_graph_output():
        graph.remove(read, safe=True)


def _join(graph: ir.Graph, last: ir.Node) -> None:
    chain = [last]
    while len(chain) < len(_CHAIN) and (source := chain[-1].inputs[0]) is not None and (before := source.producer()):
        chain.append(before)
    matrix = chain[2].inputs[1] if len(chain) == len(_CHAIN) and len(chain[2].inputs) > 1 else None
    kernel = matrix.producer() if matrix is not None else None
    weights = constant_value(kernel.inputs[0]) if kernel is not None else None
    if tuple(one.op_type for one in reversed(chain)) != _CHAIN or kernel is None or weights is None:
        raise ExportError(f"{last.name} is marked as the end of a 1x1 convolution and is none.", "Export it again.")
    facts, integers, grid = last.metadata_props, chain[-1].inputs[0], chain[3].inputs[1:]
    _reshape_weights(kernel, [*weights.shape, 1, 1])
    readers = [] if integers is None else integers.consumers()
    read = next((one for one in readers if one.outputs[0].name == facts[_MARK]), None)
    if read is None:
        shape = None if integers is None else integers.shape
        read = named_node("DequantizeLinear", [integers, *grid], facts[_MARK], ir.DataType.FLOAT, shape)
        graph.insert_before(last, read)
    output, inputs = last.outputs[0], [read.outputs[0], *chain[2].inputs[1:]]
    conv = named_node("Conv", inputs, str(output.name), output.dtype, output.shape, {"kernel_shape": [1, 1]})
    conv.name = chain[2].name
    conv.metadata_props.update({key: word for key, word in facts.items() if key != _MARK})
    graph.insert_before(last, conv)
    replace_value(graph, output, conv.outputs[0])
    shapes = [str(one.inputs[1].name) for one in chain if one.op_type == "Reshape" and one.inputs[1] is not None]
    graph.remove(chain, safe=True)
    for name in shapes:
        graph.initializers.pop(name, None)


def _reshape_weights(dequantise: ir.Node, shape: Sequence[int]) -> None:
    """Give the integers that `dequantise` reads, and what it writes, another shape."""
    value = dequantise.inputs[0]
    weights = constant_value(value)
    if value is None or weights is None:
        raise ExportError(f"{dequantise.name} reads no constant weights.", "Export it again.")
    value.const_value = ir.tensor(weights.reshape(shape), name=value.name)
    value.shape = dequantise.outputs[0].shape = ir.Shape(shape)
