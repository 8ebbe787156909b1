"""DepthToSpace in a form that ONNX Runtime can leave channels-last, as its integer convolutions are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.graph import CHANNELS_FIRST, CHANNELS_LAST, constant_value, named_node, register_constant, static_shape

__all__ = ["join_depth_to_space", "spell_out_depth_to_space"]

_TO_SPACE = {"DCR": [0, 1, 3, 2, 4, 5], "CRD": [0, 1, 4, 2, 5, 3]}  # of (N, H, W, b, b, C) and (N, H, W, C, b, b)
_NODE, _TENSOR, _MODE, _SIZE = (f"depth_to_space.{word}" for word in ("node", "tensor", "mode", "blocksize"))


def spell_out_depth_to_space(model: ir.Model) -> int:
    """Replace, in place, each DepthToSpace between integers of one grid by transpositions of the integers.

    ONNX Runtime computes integer convolutions channels-last and moves the transpositions around them through Concat,
    MaxPool and element by element operators until they meet and vanish. They do not pass DepthToSpace: before and
    behind it, and on every branch that is concatenated with it, the whole tensor is turned round. Spelled as
    ``NCHW -> NHWC -> (N, H, W, b, b, C) -> (N, H, b, W, b, C) -> NHWC -> NCHW`` only the middle one remains.

    Returns how many were replaced.
    """
    replaced = 0
    for node in list(model.graph):
        around = _same_grid_around(node) if node.op_type == "DepthToSpace" else None
        if around is None or around[0].inputs[0] is None:
            continue
        dequantise, quantise = around
        moved = _move(model.graph, node, around[0].inputs[0])
        ir.convenience.replace_all_uses_with(quantise.outputs[0], moved)
        moved.name = quantise.outputs[0].name
        model.graph.remove([quantise, node], safe=True)
        if not dequantise.outputs[0].uses():
            model.graph.remove(dequantise, safe=True)
        replaced += 1
    return replaced


def join_depth_to_space(model: ir.Model) -> ir.Model:
    """The inverse, in place, for those who look into a graph: operators between quantisers, under their own names.

    Raises:
        ExportError: what is marked as such is something else.
    """
    graph = model.graph
    for last in list(graph):
        facts = last.metadata_props
        if _TENSOR not in facts:
            continue
        moves = [last]
        while len(moves) < 5 and moves[-1].inputs[0] is not None and (before := moves[-1].inputs[0].producer()):
            moves.append(before)
        readers = last.outputs[0].consumers()
        if len(moves) < 5 or any(reader.op_type != "DequantizeLinear" for reader in readers):
            raise ExportError(f"{last.name} is marked as the end of a DepthToSpace and is none.", "Export it again.")
        integers, moved, grid = moves[-1].inputs[0], last.outputs[0], readers[0].inputs[1:3]
        before = named_node("DequantizeLinear", [integers, *grid], f"{facts[_TENSOR]}/read", ir.DataType.FLOAT)
        node = named_node("DepthToSpace", before.outputs, facts[_TENSOR], ir.DataType.FLOAT, moved.shape)
        node.name = facts[_NODE]
        node.attributes.add(ir.AttrInt64("blocksize", int(facts[_SIZE])))
        node.attributes.add(ir.AttrString("mode", facts[_MODE]))
        behind = named_node("QuantizeLinear", [node.outputs[0], *grid], str(moved.name), moved.dtype, moved.shape)
        for one in (before, node, behind):
            one.metadata_props.update({k: v for k, v in facts.items() if k not in (_NODE, _TENSOR, _MODE, _SIZE)})
        before.outputs[0].shape = None if integers is None else integers.shape
        graph.insert_before(last, [before, node, behind])
        ir.convenience.replace_all_uses_with(moved, behind.outputs[0])
        shapes = [str(move.inputs[1].name) for move in moves if len(move.inputs) > 1 and move.inputs[1] is not None]
        graph.remove(moves, safe=True)
        for name in shapes:
            graph.initializers.pop(name, None)
    return model


def _same_grid_around(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """The DequantizeLinear before `node` and the QuantizeLinear that alone reads it, where one undoes the other."""
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    readers = node.outputs[0].consumers()
    if before is None or before.op_type != "DequantizeLinear" or len(readers) != 1 or node.outputs[0].is_graph_output():
        return None
    (behind,) = readers
    grids = [[constant_value(value) for value in one.inputs[1:3]] for one in (before, behind)]
    if behind.op_type != "QuantizeLinear" or any(value is None or value.ndim for grid in grids for value in grid):
        return None
    return (before, behind) if all(np.array_equal(a, b) for a, b in zip(*grids, strict=True)) else None


def _move(graph: ir.Graph, node: ir.Node, integers: ir.Value) -> ir.Value:
    """The transpositions in the place of `node`; the last one remembers what it stands for."""
    batch, channels, height, width = static_shape(integers)
    size, mode = node.attributes["blocksize"].as_int(), node.attributes.get_string("mode", "DCR")
    fine = channels // size**2
    parts = [size, size, fine] if mode == "DCR" else [fine, size, size]
    rows, columns = height * size, width * size
    steps: list[tuple[str, list[int]]] = [
        ("Transpose", CHANNELS_LAST),
        ("Reshape", [batch, height, width, *parts]),
        ("Transpose", _TO_SPACE[mode]),
        ("Reshape", [batch, rows, columns, fine]),
        ("Transpose", CHANNELS_FIRST),
    ]
    value = integers
    for number, (operator, argument) in enumerate(steps):
        name = f"{node.name}/moved{number}"
        if operator == "Transpose":
            shape = [static_shape(value)[axis] for axis in argument]
            move = named_node(operator, [value], name, integers.dtype, ir.Shape(shape), {"perm": argument})
        else:
            wanted = register_constant(graph, f"{name}/shape", np.array(argument, np.int64))
            move = named_node(operator, [value, wanted], name, integers.dtype, ir.Shape(argument))
        move.metadata_props.update(node.metadata_props)
        graph.insert_before(node, move)
        value = move.outputs[0]
    marks = {_NODE: str(node.name), _TENSOR: str(node.outputs[0].name), _MODE: mode, _SIZE: str(size)}
    move.metadata_props.update(marks)
    return value
