"""Operators that only rename axes: none of them moves data unless a later operator makes it necessary."""

from __future__ import annotations

import math

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.layout import default_order
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.registry import lowers

__all__: list[str] = []

_DATA = slice(1)


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze", data=_DATA)
def _reshape(op: Op) -> Operand:
    return op.emitter.reshape(_same_quantiser(op), op.output_shape())


@lowers("Transpose", data=_DATA)
def _transpose(op: Op) -> Operand:
    x = _same_quantiser(op)
    permutation = op.attr("perm") or list(reversed(range(len(x.shape))))
    return Operand(x.tensor, tuple(x.shape[axis] for axis in permutation), x.layout.transposed(permutation))


@lowers("Identity", data=_DATA)
def _identity(op: Op) -> Operand:
    return _same_quantiser(op)


@lowers("Dropout", data=_DATA)
def _dropout(op: Op) -> Operand:
    if op.has(2) and bool(op.numbers(2, "training_mode").item()):
        op.refuse("it is in training mode", "Export the model in evaluation mode (model.eval()).")
    return _same_quantiser(op)


@lowers("Cast", data=_DATA)
def _cast(op: Op) -> Operand:
    source, target = op.step.inputs[0], op.step.outputs[0]
    if source is None or source.dtype != target.dtype:
        op.refuse(f"it changes the type to {target.dtype}", "Keep activations in float32.")
    return _same_quantiser(op)


@lowers("Expand", data=_DATA)
def _expand(op: Op) -> Operand:
    shape = op.output_shape()
    x = _same_quantiser(op)
    x = op.emitter.reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    if math.prod(x.shape) == math.prod(shape):
        return op.emitter.reshape(x, shape)
    x = op.emitter.plain(x)
    order = x.layout.order(len(shape)) or default_order(len(shape))
    stored = [shape[axis] for axis in order]
    inputs = [x.tensor, op.emitter.constant(stored, label="shape")]
    return Operand(op.emitter.emit("BROADCAST_TO", inputs, stored, op.quantiser), shape, x.layout)


def _same_quantiser(op: Op) -> Operand:
    return op.emitter.requantise(op.operand(0), op.quantiser)
