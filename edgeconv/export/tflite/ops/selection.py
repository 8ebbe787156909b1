"""Taking parts and putting them together: Slice, Gather, Split, Concat, Pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.layout import Layout, default_order
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.pad import constant_pad, crop, order_of
from edgeconv.export.tflite.registry import lowers

__all__ = ["take"]


def take(op: Op, x: Operand, axis: int, indices: Sequence[int]) -> Operand:
    """Entries `indices` of ONNX axis `axis`: a SLICE where they are consecutive, else a GATHER."""
    x = op.emitter.plain(x)
    order, shape = order_of(x), (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
    first = indices[0]
    if list(indices) == list(range(first, first + len(indices))):
        return crop(op, x, [first if other == axis else 0 for other in range(len(shape))], shape)
    options = schema.GatherOptionsT()
    options.axis = order.index(axis)
    inputs = [x.tensor, op.emitter.constant(np.array(indices, np.int32), label="indices")]
    stored = [shape[other] for other in order]
    return Operand(op.emitter.emit("GATHER", inputs, stored, op.emitter.quantiser(x), options), shape, x.layout)


@lowers("Gather", data=slice(1))
def _gather(op: Op) -> Operand:
    x = op.emitter.requantise(op.operand(0), op.quantiser)
    axis = op.attr("axis", 0) % len(x.shape)
    indices = op.numbers(1, "its index").astype(np.int64) % x.shape[axis]
    return op.emitter.reshape(take(op, x, axis, indices.ravel().tolist()), op.output_shape())


@lowers("GatherND", data=slice(1))
def _gather_nd(op: Op) -> Operand:
    indices = op.numbers(1, "its index").astype(np.int64)
    if op.attr("batch_dims", 0) != 0 or indices.shape[-1] != 1:
        op.refuse("it indexes several axes at once", "Index one axis after the other.")
    x = op.emitter.requantise(op.operand(0), op.quantiser)
    taken = take(op, x, 0, (indices.ravel() % x.shape[0]).tolist())
    return op.emitter.reshape(taken, op.output_shape())


@lowers("Slice", data=slice(1))
def _slice(op: Op) -> Operand:
    x = op.emitter.requantise(op.operand(0), op.quantiser)
    starts, ends = op.ints(1, "starts") or [], op.ints(2, "ends") or []
    axes = op.ints(3, "axes") or list(range(len(starts)))
    steps = op.ints(4, "steps") or [1] * len(starts)
    ranges = [range(size) for size in x.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        ranges[axis] = ranges[axis][start:end:step]
    if not all(ranges):
        op.refuse("it selects nothing", "Remove it.")
    shape = tuple(len(chosen) for chosen in ranges)
    if all(chosen.step == 1 for chosen in ranges):
        return crop(op, x, [chosen.start for chosen in ranges], shape)
    x = op.emitter.plain(x)
    order, options = order_of(x), schema.StridedSliceOptionsT()
    # A range that counts down to the first entry ends before it, which only a mask can say.
    options.endMask = sum(1 << place for place, axis in enumerate(order) if ranges[axis].stop < 0)
    corners = [[getattr(ranges[axis], name) for axis in order] for name in ("start", "stop", "step")]
    inputs = [x.tensor, *(op.emitter.constant(corner, label="corner") for corner in corners)]
    stored = [shape[axis] for axis in order]
    return Operand(op.emitter.emit("STRIDED_SLICE", inputs, stored, op.quantiser, options), shape, x.layout)


@lowers("Split", data=slice(1))
def _split(op: Op) -> tuple[Operand, ...]:
    axis = op.attr("axis", 0) % len(op.shape(0))
    shapes = [op.output_shape(index) for index in range(len(op.step.outputs))]
    sizes = [shape[axis] for shape in shapes]
    x = op.emitter.plain(op.operand(0))
    order = order_of(x)
    place = op.emitter.constant(np.array(order.index(axis), np.int32), label="axis")
    quantiser = op.emitter.quantiser(x)
    outputs = [op.emitter.tensor([shape[other] for other in order], quantiser, "split") for shape in shapes]
    if len(set(sizes)) == 1:
        code, options, inputs = "SPLIT", schema.SplitOptionsT(), [place, x.tensor]
    else:
        code, options = "SPLIT_V", schema.SplitVOptionsT()
        inputs = [x.tensor, op.emitter.constant(sizes, label="sizes"), place]
    options.numSplits = len(sizes)
    op.emitter.append(code, inputs, outputs, options)
    parts = [Operand(tensor, shape, x.layout) for tensor, shape in zip(outputs, shapes, strict=True)]
    return tuple(op.emitter.requantise(part, quantiser) for part, quantiser in zip(parts, op.quantisers, strict=True))


@lowers("Concat", data=slice(None), int8_if=lambda op: op.per_tensor)
def _concat(op: Op) -> Operand:
    shape = op.output_shape()
    axis = op.attr("axis") % len(shape)
    variables = [op.operand(index) for index in range(op.arity) if op.constant(index) is None]
    plain = [order for order in map(op.emitter.order, variables) if order is not None]
    default = default_order(len(shape))
    order = default if not plain or default in plain else plain[0]
    tensors = []
    for index in range(op.arity):
        constant = op.constant(index)
        operand = op.operand(index) if constant is None else op.constant_operand(constant, order)
        tensors.append(op.emitter.requantise(op.emitter.arrange(operand, order), op.quantiser).tensor)
    options = schema.ConcatenationOptionsT()
    options.axis = order.index(axis)
    stored = [shape[other] for other in order]
    tensor = op.emitter.emit("CONCATENATION", tensors, stored, op.quantiser, options)
    return Operand(tensor, shape, Layout.of_order(order))


@lowers("Pad", data=slice(1))
def _pad(op: Op) -> Operand:
    mode = op.attr("mode", "constant")
    x = op.emitter.requantise(op.operand(0), op.quantiser)
    rank = len(x.shape)
    given = op.ints(1, "pads") or [0] * 2 * rank
    axes = [axis % rank for axis in op.ints(3, "axes") or range(rank)]
    pads = [(0, 0)] * rank
    for axis, before, after in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
        pads[axis] = (before, after)
    begin = [max(-before, 0) for before, _ in pads]
    x = crop(op, x, begin, tuple(s + min(b, 0) + min(a, 0) for s, (b, a) in zip(x.shape, pads, strict=True)))
    pads = [(max(before, 0), max(after, 0)) for before, after in pads]
    if not any(map(any, pads)):
        return x
    if mode == "constant":
        fill = float(op.numbers(2, "the value of the padding").item()) if op.has(2) else op.attr("value", 0.0)
        return constant_pad(op, x, pads, fill if fill != 0 else None)
    if mode == "reflect":
        return _mirror(op, x, pads)
    for axis, (before, after) in enumerate(pads):
        if before or after:
            positions = np.arange(-before, x.shape[axis] + after)
            size = x.shape[axis]
            indices = np.clip(positions, 0, size - 1) if mode == "edge" else positions % size
            x = take(op, x, axis, indices.tolist())
    return x


def _mirror(op: Op, x: Operand, pads: Sequence[tuple[int, int]]) -> Operand:
    if any(max(before, after) >= size for size, (before, after) in zip(x.shape, pads, strict=True)):
        op.refuse("it reflects more than the input holds", "Pad by less than the size of the axis.")
    x = op.emitter.plain(x)
    order = order_of(x)
    shape = tuple(size + before + after for size, (before, after) in zip(x.shape, pads, strict=True))
    options = schema.MirrorPadOptionsT()
    options.mode = schema.MirrorPadMode.REFLECT
    inputs = [x.tensor, op.emitter.constant([pads[axis] for axis in order], label="pads")]
    stored = [shape[axis] for axis in order]
    return Operand(op.emitter.emit("MIRROR_PAD", inputs, stored, op.quantiser, options), shape, x.layout)
