"""A convolution and the DepthToSpace behind it in a form that OpenVINO does not copy byte by byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.graph import CHANNELS_FIRST, CHANNELS_LAST, constant_value, only_reader, register_constant, static_shape
from edgeconv.runtimes.kernels import ROW

__all__ = ["split_upsampling"]


def split_upsampling(model: ir.Model) -> int:
    """Split, in place, each int8 ``Conv -> DepthToSpace`` (DCR, block b) into b convolutions, one for each row.

    Row i of every block of b x b pixels is made of the channels i C/b to (i + 1) C/b. Channels-last, as OpenVINO's int8
    convolutions write them, such a part is the finished row: what remains is to lay rows of W b pixels one below the
    other. As ``NCHW -> NHWC -> (N, H, 1, W b C') -> Concat -> (N, H b, W b, C') -> NCHW``, whose first and last
    steps only rename axes, that is a copy of whole rows; OpenVINO's DepthToSpace takes as long as three convolutions.
    The same integers.

    Returns how many were split.
    """
    split = 0
    for node in list(model.graph):
        chain = _quantised_convolution(node) if node.op_type == "DepthToSpace" else None
        if chain is None:
            continue
        rows = _Rows(model.graph, node, *chain).laid_out()
        ir.convenience.replace_all_uses_with(node.outputs[0], rows)
        rows.name = node.outputs[0].name
        model.graph.remove([node, *reversed(chain)], safe=True)
        split += 1
    return split


def _quantised_convolution(node: ir.Node) -> tuple[ir.Node, ir.Node, ir.Node] | None:
    """The Conv, QuantizeLinear and DequantizeLinear before a DepthToSpace that alone reads them."""
    if node.attributes.get_string("mode", "DCR") != "DCR":
        return None
    chain: list[ir.Node] = []
    reader = node
    for operator in ("DequantizeLinear", "QuantizeLinear", "Conv"):
        value = reader.inputs[0]
        producer = None if value is None else value.producer()
        if value is None or producer is None or producer.op_type != operator or only_reader(value) is not reader:
            return None
        chain.append(producer)
        reader = producer
    dequantise, quantise, conv = chain
    constants = [value.producer() for value in conv.inputs[1:] if value is not None]
    if any(one is None or one.op_type != "DequantizeLinear" or not _per_channel(one) for one in constants):
        return None
    return (conv, quantise, dequantise) if conv.attributes.get_int("group", 1) == 1 else None


def _per_channel(dequantise: ir.Node) -> bool:
    arrays = [constant_value(value) for value in dequantise.inputs]
    return all(array is not None and array.ndim and len(array) == len(arrays[0]) for array in arrays)  # type: ignore[arg-type]


class _Rows:
    def __init__(self, graph: ir.Graph, node: ir.Node, conv: ir.Node, quantise: ir.Node, dequantise: ir.Node) -> None:
        self._graph, self._node, self._conv = graph, node, conv
        self._grid = quantise.inputs[1:]
        self._kinds = quantise.outputs[0].dtype, dequantise.outputs[0].dtype

    def laid_out(self) -> ir.Value:
        """The upsampled tensor, channels first."""
        size = self._node.attributes["blocksize"].as_int()
        batch, channels, height, width = static_shape(self._node.inputs[0])  # type: ignore[arg-type]
        fine = channels // size**2
        rows = []
        for number in range(size):
            name = f"{self._conv.name}{ROW}{number}"
            row = self._convolved(name, slice(number * size * fine, (number + 1) * size * fine))
            row = self._add("Transpose", [row], name, [batch, height, width, size * fine], {"perm": CHANNELS_LAST})
            rows.append(self._reshaped(row, name, [batch, height, 1, width * size * fine]))
        name, shape = str(self._node.name), [batch, height * size, width * size, fine]
        stacked = self._add("Concat", rows, name, [batch, height, size, width * size * fine], {"axis": 2})
        last = self._reshaped(stacked, name, shape)
        return self._add("Transpose", [last], name, [shape[axis] for axis in CHANNELS_FIRST], {"perm": CHANNELS_FIRST})

    def _convolved(self, name: str, channels: slice) -> ir.Value:
        """The output channels of that slice, quantised and read again."""
        integer, real = self._kinds
        inputs = [self._conv.inputs[0]]
        for index, value in enumerate(self._conv.inputs[1:]):
            reader = value.producer() if value is not None else None
            if reader is not None:
                parts = [
                    register_constant(self._graph, f"{name}/{index}.{i}", np.asarray(constant_value(one))[channels])
                    for i, one in enumerate(reader.inputs)
                ]
                inputs.append(self._add("DequantizeLinear", parts, f"{name}/{index}", parts[0].shape, {"axis": 0}))
        batch, _, height, width = static_shape(self._conv.outputs[0])
        shape = [batch, channels.stop - channels.start, height, width]
        made = self._add("Conv", inputs, name, shape, {}, real, name)
        made.producer().attributes.update(self._conv.attributes)  # type: ignore[union-attr]
        stored = self._add("QuantizeLinear", [made, *self._grid], name, shape, {}, integer)
        return self._add("DequantizeLinear", [stored, *self._grid], name, shape, {})

    def _reshaped(self, value: ir.Value, name: str, shape: Sequence[int]) -> ir.Value:
        wanted = register_constant(self._graph, f"{name}/shape", np.array(shape, np.int64))
        return self._add("Reshape", [value, wanted], name, shape)

    def _add(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        shape: Sequence[int] | ir.Shape | None,
        attributes: Mapping[str, int | list[int]] | None = None,
        dtype: ir.DataType | None = None,
        node_name: str | None = None,
    ) -> ir.Value:
        kind = ir.TensorType(dtype or self._kinds[1] or ir.DataType.FLOAT)
        output = ir.Value(name=f"{name}/{operator}:0", type=kind, shape=None if shape is None else ir.Shape(shape))
        own = node_name or f"{name}/{operator}"
        node = ir.node(operator, inputs, dict(attributes or {}), outputs=[output], name=own)
        node.metadata_props.update((self._conv if ROW in name else self._node).metadata_props)
        self._graph.insert_before(self._node, node)
        return output
