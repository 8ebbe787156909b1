"""Activations, from Relu to Softmax."""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.graph import Constant
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.ops.elementwise import binary
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.tensors import Quantiser

__all__ = ["BOUNDS", "clamp"]

_BOUNDED = {
    (0.0, math.inf): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
    (0.0, 1.0): "RELU_0_TO_1",
}

# What the activations stand for that TFLite can fuse.
BOUNDS = {"RELU": (0.0, math.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}

# The quantisers that TFLite's int8 kernels of these functions are written for (LiteRT 8-bit specification).
_FIXED_OUTPUT = {
    "Sigmoid": Quantiser((1 / 256,), (-128,)),
    "Softmax": Quantiser((1 / 256,), (-128,)),
    "Tanh": Quantiser((1 / 128,), (0,)),
}


def clamp(op: Op, x: Operand, low: float, high: float) -> Operand:
    """`x` limited to [low, high], under the quantiser of the output of `op`."""
    if not op.int8 and (low, high) in _BOUNDED:
        return op.emit_like(_BOUNDED[low, high], x)
    x = op.emitter.requantise(x, op.quantiser)
    smallest, largest = (-math.inf, math.inf) if op.quantiser is None else op.quantiser.range()
    for code, bound, needed in (("MAXIMUM", low, low > smallest), ("MINIMUM", high, high < largest)):
        if needed:
            # Rounding is monotone, so clamping the rounded values to the rounded bound is exact.
            value = Constant(np.float32(bound).reshape(()))
            if op.quantiser is not None:
                value = Constant(op.quantiser.quantise(value.array), op.quantiser)
            x = binary(op, code, x, value, schema.MaximumMinimumOptionsT(), op.quantiser)
    return x


@lowers("Relu", data=slice(1))
def _relu(op: Op) -> Operand:
    return clamp(op, op.operand(0), 0.0, math.inf)


@lowers("Clip", data=slice(1))
def _clip(op: Op) -> Operand:
    low = float(op.numbers(1, "the lower bound").item()) if op.has(1) else -math.inf
    high = float(op.numbers(2, "the upper bound").item()) if op.has(2) else math.inf
    return clamp(op, op.operand(0), low, high)


@lowers("LeakyRelu", data=slice(1))
def _leaky_relu(op: Op) -> Operand:
    return _leaky(op, op.attr("alpha", 0.01))


@lowers("PRelu", data=slice(2), int8_if=lambda op: op.per_tensor)
def _prelu(op: Op) -> Operand:
    constant = op.constant(1)
    if constant is None:
        op.refuse("its slope is computed at run time", "Use a learned, constant slope.")
    x, slope = op.operand(0), constant.real()
    if slope.size == 1:
        return _leaky(op, float(slope.item()))
    shape = (1,) * (len(x.shape) - slope.ndim) + slope.shape
    x = op.emitter.plain(x)
    split, order = op.emitter.split_like(shape, x)
    alpha = op.constant_operand(constant, order, split)
    return op.emit_like("PRELU", x, alpha.tensor, quantiser=op.quantiser)


@lowers("Sigmoid", "Tanh", data=slice(1), int8_if=lambda op: op.quantiser == _FIXED_OUTPUT[op.step.op_type])
def _saturating(op: Op) -> Operand:
    code = {"Sigmoid": "LOGISTIC", "Tanh": "TANH"}[op.step.op_type]
    return op.emit_like(code, op.operand(0), quantiser=op.quantiser)


@lowers("HardSigmoid")
def _hard_sigmoid(op: Op) -> Operand:
    # max(0, min(1, a x + b)) as relu6(6 a x + 6 b) / 6: the activation is fused into the addition.
    x, slope = op.operand(0), 6 * np.float32(op.attr("alpha", 0.2))
    if not math.isclose(slope, 1, rel_tol=1e-6):
        x = binary(op, "MUL", x, float(slope), schema.MulOptionsT())
    add = schema.AddOptionsT()
    add.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    x = binary(op, "ADD", x, 6 * op.attr("beta", 0.5), add)
    return binary(op, "MUL", x, 1 / 6, schema.MulOptionsT())


@lowers("HardSwish", data=slice(1))
def _hard_swish(op: Op) -> Operand:
    return op.emit_like("HARD_SWISH", op.operand(0), options=schema.HardSwishOptionsT(), quantiser=op.quantiser)


@lowers("Elu")
def _elu(op: Op) -> Operand:
    if op.attr("alpha", 1.0) != 1.0:
        op.refuse(f"alpha is {op.attr('alpha')}", "TFLite has alpha = 1 only.")
    return op.emit_like("ELU", op.operand(0))


@lowers("Gelu", data=slice(1))
def _gelu(op: Op) -> Operand:
    options = schema.GeluOptionsT()
    options.approximate = op.attr("approximate", "none") == "tanh"
    return op.emit_like("GELU", op.operand(0), options=options, quantiser=op.quantiser)


@lowers("Erf")
def _erf(op: Op) -> Operand:
    """Abramowitz and Stegun, formula 7.1.26: 1.5e-7 off, a few 1e-7 with the rounding of float32."""
    multiply, add = schema.MulOptionsT(), schema.AddOptionsT()
    x = op.operand(0)
    magnitude = op.emit_like("ABS", x, options=schema.AbsOptionsT())
    denominator = binary(op, "ADD", binary(op, "MUL", magnitude, 0.3275911, multiply), 1.0, add)
    t = binary(op, "DIV", Constant(np.float32(1).reshape(())), denominator, schema.DivOptionsT())
    polynomial = binary(op, "MUL", t, 1.061405429, multiply)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial = binary(op, "MUL", binary(op, "ADD", polynomial, coefficient, add), t, multiply)
    square = op.emit_like("MUL", x, x.tensor, options=multiply)
    tail = op.emit_like("EXP", op.emit_like("NEG", square, options=schema.NegOptionsT()), options=schema.ExpOptionsT())
    positive = binary(op, "SUB", Constant(np.float32(1).reshape(())), binary(op, "MUL", polynomial, tail, multiply))
    # No SIGN in older runtimes; any |x| below 1e-30 has an erf of nothing.
    sign = op.emit_like("RELU_N1_TO_1", binary(op, "MUL", x, 1e30, multiply))
    return binary(op, "MUL", positive, sign, multiply)


@lowers("Softmax", data=slice(1), int8_if=lambda op: op.quantiser == _FIXED_OUTPUT["Softmax"])
def _softmax(op: Op) -> Operand:
    x = op.operand(0)
    axis = op.attr("axis", -1) % len(x.shape)
    stored = op.emitter.stored(x)
    dims = [dim for dim in x.layout.axes[axis] if stored[dim] != 1]
    if dims != [len(stored) - 1]:
        order = x.layout.order(len(stored)) or tuple(range(len(x.shape)))
        x = op.emitter.arrange(x, [*(other for other in order if other != axis), axis])
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return op.emit_like("SOFTMAX", x, options=options, quantiser=op.quantiser)


def _leaky(op: Op, slope: float) -> Operand:
    options = schema.LeakyReluOptionsT()
    options.alpha = slope
    return op.emit_like("LEAKY_RELU", op.operand(0), options=options, quantiser=op.quantiser)
