"""Cropping, and padding with a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.layout import Shape, default_order
from edgeconv.export.tflite.op import Op

__all__ = ["constant_pad", "crop", "order_of"]

_LOWEST = float(np.finfo(np.float32).min)


def constant_pad(op: Op, x: Operand, pads: Sequence[tuple[int, int]], fill: float | None = None) -> Operand:
    """`x` with (before, after) entries of `fill` (None: zero) on each ONNX axis, under its own quantiser."""
    x, emitter = op.emitter.plain(x), op.emitter
    order = order_of(x)
    shape = tuple(size + before + after for size, (before, after) in zip(x.shape, pads, strict=True))
    inputs = [x.tensor, emitter.constant([pads[axis] for axis in order], label="pads")]
    quantiser = emitter.quantiser(x)
    code, options = "PAD", schema.PadOptionsT()
    if fill is not None:
        value = np.array([max(fill, _LOWEST)], np.float32) if quantiser is None else quantiser.quantise([fill])
        code, options = "PADV2", schema.PadV2OptionsT()
        inputs.append(emitter.constant(value, quantiser, "fill"))
    tensor = emitter.emit(code, inputs, [shape[axis] for axis in order], quantiser, options)
    return Operand(tensor, shape, x.layout)


def crop(op: Op, x: Operand, begin: Sequence[int], shape: Shape) -> Operand:
    """The box of `shape` that starts at `begin`, one entry for each ONNX axis; `x` itself if it is all of it."""
    if tuple(shape) == x.shape:
        return x
    x, emitter = op.emitter.plain(x), op.emitter
    order = order_of(x)
    stored = [shape[axis] for axis in order]
    inputs = [
        x.tensor,
        emitter.constant([begin[axis] for axis in order], label="begin"),
        emitter.constant(stored, label="size"),
    ]
    tensor = emitter.emit("SLICE", inputs, stored, emitter.quantiser(x), schema.SliceOptionsT())
    return Operand(tensor, tuple(shape), x.layout)


def order_of(x: Operand) -> tuple[int, ...]:
    """Order of the axes in memory of an operand in a plain layout."""
    return x.layout.order(len(x.shape)) or default_order(len(x.shape))
