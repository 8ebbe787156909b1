"""Arithmetic on one, two or more operands of any layout, with broadcasting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.graph import Constant
from edgeconv.export.tflite.layout import Layout, Shape, default_order
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.tensors import Quantiser

__all__ = ["binary"]

_UNARY = {"Abs": "ABS", "Ceil": "CEIL", "Floor": "FLOOR", "Log": "LOG", "Neg": "NEG", "Sqrt": "SQRT"}


def binary(
    op: Op,
    code: str,
    first: Operand | Constant,
    second: Operand | Constant | float,
    options: Any = None,
    quantiser: Quantiser | None = None,
) -> Operand:
    """`code` on two operands, one of them variable, that broadcast as in ONNX; float unless a quantiser is given.

    The result has the layout of the variable operand that has its shape, the default one if that has none; constants
    are written in that layout, so they never cost a transpose.
    """
    operands = [first, Constant(np.float32(second).reshape(())) if isinstance(second, float | int) else second]
    shape = np.broadcast_shapes(*(_shape(operand) for operand in operands))
    complete = [operand for operand in operands if isinstance(operand, Operand) and operand.shape == shape]
    if complete:
        leader = min(complete, key=lambda x: op.emitter.order(x) != default_order(len(shape)))
        inputs = [_like(op, operand, leader) for operand in operands]
        stored, layout = op.emitter.stored(leader), leader.layout
    else:
        order = default_order(len(shape))
        inputs = [_arranged(op, operand, order) for operand in operands]
        stored, layout = tuple(shape[axis] for axis in order), Layout.of_order(order)
    return Operand(op.emitter.emit(code, inputs, stored, quantiser, options), shape, layout)


@lowers("Add", data=slice(2), fuses=True, int8_if=lambda op: op.per_tensor)
def _add(op: Op) -> Operand:
    return binary(op, "ADD", *_constant_last(op), op.fused(schema.AddOptionsT()), op.quantiser)


@lowers("Mul", data=slice(2), fuses=True, int8_if=lambda op: op.per_tensor)
def _mul(op: Op) -> Operand:
    return binary(op, "MUL", *_constant_last(op), op.fused(schema.MulOptionsT()), op.quantiser)


@lowers("Sub", data=slice(2), fuses=True, int8_if=lambda op: op.per_tensor)
def _sub(op: Op) -> Operand:
    return binary(op, "SUB", _operand(op, 0), _operand(op, 1), op.fused(schema.SubOptionsT()), op.quantiser)


@lowers("Div", fuses=True)
def _div(op: Op) -> Operand:
    return binary(op, "DIV", _operand(op, 0), _operand(op, 1), op.fused(schema.DivOptionsT()))


@lowers("Pow")
def _pow(op: Op) -> Operand:
    exponent = op.constant(1)
    power = float(exponent.real().item()) if exponent is not None and exponent.array.size == 1 else math.nan
    if op.constant(0) is not None or power not in (0.5, 1, 2, 3):
        return binary(op, "POW", _operand(op, 0), _operand(op, 1), schema.PowOptionsT())
    x = op.operand(0)
    if power == 1:
        return x
    if power == 0.5:
        return op.emit_like("SQRT", x)
    square = op.emit_like("MUL", x, x.tensor, options=schema.MulOptionsT())
    return square if power == 2 else op.emit_like("MUL", square, x.tensor, options=schema.MulOptionsT())


@lowers("Max", "Min", data=slice(None), int8_if=lambda op: op.per_tensor)
def _extremum(op: Op) -> Operand:
    code = {"Max": "MAXIMUM", "Min": "MINIMUM"}[op.step.op_type]
    variables = [op.emitter.requantise(op.operand(i), op.quantiser) for i in range(op.arity) if op.constant(i) is None]
    constants = [_requantised(op, constant) for i in range(op.arity) if (constant := op.constant(i)) is not None]
    others: list[Operand | Constant] = [*variables[1:], *constants]
    result = variables[0]
    for other in others:
        result = binary(op, code, result, other, schema.MaximumMinimumOptionsT(), op.quantiser)
    return result


@lowers(*_UNARY)
def _unary(op: Op) -> Operand:
    return op.emit_like(_UNARY[op.step.op_type], op.operand(0))


@lowers("Exp", data=slice(1))
def _exp(op: Op) -> Operand:
    return op.emit_like("EXP", op.operand(0), options=schema.ExpOptionsT(), quantiser=op.quantiser)


def _operand(op: Op, index: int) -> Operand | Constant:
    return op.constant(index) or op.operand(index)


def _constant_last(op: Op) -> tuple[Operand | Constant, Operand | Constant]:
    """The operands of a commutative operator; what is constant, and may broadcast, is where kernels want it."""
    first, second = _operand(op, 0), _operand(op, 1)
    return (second, first) if isinstance(first, Constant) else (first, second)


def _requantised(op: Op, constant: Constant) -> Constant:
    if op.quantiser is None or constant.quantiser == op.quantiser:
        return constant
    return Constant(op.quantiser.quantise(constant.real()), op.quantiser)


def _shape(operand: Operand | Constant) -> Shape:
    return tuple(operand.array.shape) if isinstance(operand, Constant) else operand.shape


def _like(op: Op, operand: Operand | Constant, leader: Operand) -> int:
    """The tensor of `operand` in dimensions that broadcast to those of `leader`."""
    shape = _shape(operand)
    shape = (1,) * (len(leader.shape) - len(shape)) + shape
    if isinstance(operand, Operand):
        return op.emitter.like(op.emitter.reshape(operand, shape), leader).tensor
    split, order = op.emitter.split_like(shape, leader)
    return op.constant_operand(operand, order, split).tensor


def _arranged(op: Op, operand: Operand | Constant, order: tuple[int, ...]) -> int:
    shape = _shape(operand)
    shape = (1,) * (len(order) - len(shape)) + shape
    if isinstance(operand, Operand):
        return op.emitter.arrange(op.emitter.reshape(operand, shape), order).tensor
    return op.constant_operand(operand, order, shape).tensor
