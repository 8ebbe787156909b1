"""Convolutions of few channels on several columns at once, for ONNX Runtime."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.column_window import ColumnWindow
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

__all__ = ["join_columns", "part_columns"]

_MARK, _JOINED = "columns", "/columns"
_ACTIVATIONS = ("Clip", "LeakyRelu", "Relu")  # without a parameter for each channel
_MOST_PRODUCTS = 1024  # of a pixel: with more, the zeros that joining adds cost more than it saves
_FEW_OUTPUTS, _OF_FEW, _OF_MORE = 2, 4, 2


def join_columns(model: ir.Model) -> int:
    """Compute, in place, each int8 convolution of few channels on several columns at once.

    ONNX Runtime's integer convolution spends most of its time on gathering pixels where these have few channels.
    Channels-last, neighbouring columns are channels of one pixel for the price of a Reshape: half as many pixels of
    twice the channels, with weights in blocks and zeros between them. The same integers.

    Returns how many were joined.
    """
    joined = 0
    for node in list(model.graph):
        window = _worthwhile_window(node)
        if window is not None:
            _Regrouping(model.graph, node, window, back=False).run()
            node.metadata_props[_MARK] = json.dumps(dataclasses.asdict(window))
            joined += 1
    _cancel(model.graph)
    return joined


def part_columns(model: ir.Model) -> ir.Model:
    """The inverse, in place.

    A convolution whose weights are not those of a narrow one in blocks, in a file that was changed, stays as it is,
    with its columns joined between the quantisers alone.

    Raises:
        ExportError: what is marked as such is something else.
    """
    for node in list(model.graph):
        mark = node.metadata_props.pop(_MARK, None)
        if mark is None:
            continue
        try:
            window = ColumnWindow(**json.loads(mark))
            if (static_shape(_reader(node, 1).outputs[0])[-1], *_pads(node)[1::2]) != window.joined:
                raise ValueError(f"{window} is not what {node.name} has.")
            blocks = all(_in_blocks(_reader(node, index), window) for index in range(1, len(node.inputs)))
            _Regrouping(model.graph, node, window, back=True).run(inside=blocks)
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise ExportError(
                f"{node.name} is marked as one on joined columns and is none.", "Export it again."
            ) from error
    _cancel(model.graph)
    _share_readers(model.graph)
    return model


def _in_blocks(reader: ir.Node, window: ColumnWindow) -> bool:
    """Whether weights or biases, and what scales them, are the same for each column."""
    arrays = [array for value in reader.inputs if (array := constant_value(value)) is not None and array.ndim]
    return all(np.array_equal(window.join(window.part(array)), array) for array in arrays)


def _worthwhile_window(node: ir.Node) -> ColumnWindow | None:
    """How to join the columns of `node`; None where that cannot be done or gains nothing."""
    if node.op_type != "Conv" or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET" or _chain(node) is None:
        return None
    reader = _reader(node, 1)
    kernel, zero_points = constant_value(reader.inputs[0]), [constant_value(value) for value in reader.inputs[2:]]
    ones = (node.attributes[name].value for name in ("strides", "dilations", "group") if name in node.attributes)
    if (
        kernel is None
        or kernel.ndim != 4
        or any(map(np.any, zero_points))
        or not all(np.all(np.equal(one, 1)) for one in ones)
    ):
        return None
    if (
        only_reader(reader.outputs[0]) is not node
        or reader.inputs[0] is None
        or only_reader(reader.inputs[0]) is not reader
    ):
        return None
    outputs, inputs, height, width = kernel.shape
    columns = _OF_FEW if inputs == 1 or outputs <= _FEW_OUTPUTS else _OF_MORE
    size, read_size = static_shape(node.outputs[0])[-1], static_shape(_reader(node, 0).outputs[0])[-1]
    few = outputs * inputs * height * width <= _MOST_PRODUCTS and (max(height, width) > 1 or outputs <= _FEW_OUTPUTS)
    return ColumnWindow(columns, *_pads(node)[1::2]) if few and size == read_size and size % columns == 0 else None


class _Regrouping:
    """One convolution and what is between the quantisers before and behind it."""

    def __init__(self, graph: ir.Graph, node: ir.Node, window: ColumnWindow, *, back: bool) -> None:
        chain = _chain(node)
        if chain is None:
            raise ValueError(f"{node.name} is not between quantisers.")
        self._graph, self._node, self._chain, self._window, self._back = graph, node, chain, window, back

    def run(self, *, inside: bool = True) -> None:
        """Let it compute on joined columns or, `back`, on single ones; around it nothing changes.

        Without `inside` the convolution does not change either, only where columns are joined and parted.
        """
        if inside:
            self._change_window()
        self._read()
        self._write()
        if not inside:
            self._keep_window()

    def _change_window(self) -> None:
        for index in range(1, len(self._node.inputs)):
            self._constants(_reader(self._node, index))
        window = self._window
        width, before, behind = (len(window.taps), window.before, window.behind) if self._back else window.joined
        above, _, below, _ = _pads(self._node)
        height = static_shape(_reader(self._node, 1).outputs[0])[2]
        self._node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", [height, width])
        self._node.attributes["pads"] = ir.AttrInt64s("pads", [above, before, below, behind])

    def _keep_window(self) -> None:
        """Turn what the convolution itself reads and writes, in float."""
        read, written = self._node.inputs[0], self._node.outputs[0]
        if read is not None:
            shape = self._window.regroup(static_shape(read), back=not self._back)
            self._node.replace_input_with(0, self._reshaped(read, shape, "inside/read", self._node))
        outer, uses = static_shape(written), list(written.uses())
        written.shape = ir.Shape(self._window.regroup(outer, back=not self._back))
        restored = self._reshaped(written, outer, "inside/written", None)
        for reader, index in uses:
            reader.replace_input_with(index, restored)
        written.name, restored.name = restored.name, written.name

    def _constants(self, reader: ir.Node) -> None:
        """Weights or biases, and what scales them, for as many channels."""
        for position, value in enumerate(reader.inputs):
            array = constant_value(value)
            if value is None or array is None or array.ndim == 0:
                continue
            array = self._window.part(array) if self._back else self._window.join(array)
            suffix = f"{_JOINED}{self._window.columns}"
            name = str(value.name).removesuffix(suffix) if self._back else f"{value.name}{suffix}"
            there = self._graph.initializers.get(name)
            reader.replace_input_with(position, there or register_constant(self._graph, name, array))
            if not value.uses():
                del self._graph.initializers[str(value.name)]
            if position == 0:
                reader.outputs[0].shape = ir.Shape(array.shape)

    def _read(self) -> None:
        """What the convolution reads, by a reader of its own."""
        read = _reader(self._node, 0)
        if only_reader(read.outputs[0]) is not self._node:
            real = read.outputs[0]
            own = named_node(read.op_type, read.inputs, f"{self._node.name}{_JOINED}", real.dtype, real.shape)
            self._graph.insert_before(self._node, own)
            self._node.replace_input_with(0, own.outputs[0])
            read = own
        shape = self._window.regroup(static_shape(read.outputs[0]), back=self._back)
        turned = self._reshaped(read.inputs[0], shape, "read", read)
        read.replace_input_with(0, turned)
        read.outputs[0].shape = ir.Shape(shape)

    def _write(self) -> None:
        """What it writes, given back in the shape that it had."""
        stored = self._chain[-1].outputs[0]
        outer, uses = static_shape(stored), list(stored.uses())
        inner = self._window.regroup(outer, back=self._back)
        for one in self._chain:
            one.outputs[0].shape = ir.Shape(inner)
        restored = self._reshaped(stored, outer, "written", None)
        for reader, index in uses:
            reader.replace_input_with(index, restored)
        if stored.is_graph_output():
            self._graph.outputs[list(self._graph.outputs).index(stored)] = restored
            stored.name, restored.name = restored.name, stored.name

    def _reshaped(self, value: ir.Value | None, shape: Sequence[int], word: str, before: ir.Node | None) -> ir.Value:
        """``NCHW -> NHWC -> NHW'C' -> NC'HW'`` before a node, or behind the one that writes `value`."""
        if value is None:
            raise ValueError(f"{self._node.name} reads nothing.")
        own = f"{self._node.name}{_JOINED}/{'parted' if self._back else 'joined'}/{word}"
        first, last = ([one[axis] for axis in CHANNELS_LAST] for one in (static_shape(value), shape))
        wanted = register_constant(self._graph, f"{own}/shape", np.array(last, np.int64))
        kind = value.dtype
        turn = named_node("Transpose", [value], f"{own}/last", kind, ir.Shape(first), {"perm": CHANNELS_LAST})
        move = named_node("Reshape", [turn.outputs[0], wanted], f"{own}/moved", kind, ir.Shape(last))
        back = named_node("Transpose", move.outputs, own, kind, ir.Shape(shape), {"perm": CHANNELS_FIRST})
        writer = value.producer()
        if before is not None:
            self._graph.insert_before(before, [turn, move, back])
        elif writer is not None:
            self._graph.insert_after(writer, [turn, move, back])
        return back.outputs[0]


def _chain(node: ir.Node) -> list[ir.Node] | None:
    """A convolution of integers, the activation behind it if there is one, and the quantiser, if it writes no float."""
    makers = [None if value is None else value.producer() for value in node.inputs]
    if any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
        return None
    chain = [node]
    while chain[-1].op_type != "QuantizeLinear" and not writes_free_output(node):
        reader = only_reader(chain[-1].outputs[0])
        wanted = ("QuantizeLinear", *_ACTIVATIONS) if chain[-1] is node else ("QuantizeLinear",)
        if reader is None or reader.op_type not in wanted:
            return None
        chain.append(reader)
    return chain


def _reader(node: ir.Node, index: int) -> ir.Node:
    """The DequantizeLinear before an input."""
    value = node.inputs[index]
    maker = None if value is None else value.producer()
    if maker is None:
        raise ValueError(f"Input {index} of {node.name} is not dequantised.")
    return maker


def _pads(node: ir.Node) -> list[int]:
    """Above, before, below, behind."""
    return [int(pad) for pad in node.attributes["pads"].value] if "pads" in node.attributes else [0] * 4


def _cancel(graph: ir.Graph) -> None:
    """Remove what joins columns right behind what parts them, or the other way round."""
    for node in list(graph):
        end = _regrouped(node)
        source = None if end is None or node.inputs[0] is None else node.inputs[0].producer()
        start = None if source is None else _started(source)
        if end is None or start is None or start.shape != end.outputs[0].shape:
            continue
        if end.outputs[0].is_graph_output():
            replace_value(graph, end.outputs[0], start)
        else:
            ir.convenience.replace_all_uses_with(end.outputs[0], start)
        _remove(graph, end)
        if source is not None and not source.outputs[0].uses():
            _remove(graph, source)


def _regrouped(first: ir.Node) -> ir.Node | None:
    """The last node of a Transpose, Reshape and Transpose that regroup columns, by the first."""
    move = only_reader(first.outputs[0]) if _turns(first, CHANNELS_LAST) else None
    last = only_reader(move.outputs[0]) if move is not None and move.op_type == "Reshape" else None
    return last if last is not None and _turns(last, CHANNELS_FIRST) else None


def _started(last: ir.Node) -> ir.Value | None:
    """What such a three start from, by the last."""
    move = last.inputs[0].producer() if _turns(last, CHANNELS_FIRST) and last.inputs[0] is not None else None
    first = move.inputs[0].producer() if move is not None and move.op_type == "Reshape" and move.inputs[0] else None
    return first.inputs[0] if first is not None and _turns(first, CHANNELS_LAST) else None


def _turns(node: ir.Node, order: list[int]) -> bool:
    return node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == order


def _remove(graph: ir.Graph, last: ir.Node) -> None:
    """Remove such a three, by the last."""
    nodes = [last]
    while len(nodes) < 3 and nodes[-1].inputs[0] is not None and (maker := nodes[-1].inputs[0].producer()) is not None:
        nodes.append(maker)
    shape = nodes[1].inputs[1]
    graph.remove(nodes, safe=True)
    if shape is not None:
        graph.initializers.pop(str(shape.name), None)


def _share_readers(graph: ir.Graph) -> None:
    """Give up the readers that a convolution got for itself."""
    for own in list(graph):
        if own.op_type != "DequantizeLinear" or not str(own.outputs[0].name).endswith(_JOINED) or own.inputs[0] is None:
            continue
        others = [one for one in own.inputs[0].consumers() if one.op_type == own.op_type and one is not own]
        if others:
            ir.convenience.replace_all_uses_with(own.outputs[0], others[0].outputs[0])
            graph.remove(own, safe=True)
    graph.sort()  # the reader that is left may stand behind what reads it now
