"""Weights and biases of convolutions and matrix products: real ones, or the very integers of the Q/DQ graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.tensors import Quantiser

__all__ = ["Filter", "int8_weights", "read_filter"]

_FLOATS = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Filter:
    """A linear operator's parameters.

    Attributes:
        kernel: weights with the output channels as the first axis; float32, or int8 if there are scales.
        scales: one scale, or one for each output channel; None for real weights.
        bias: one value for each output channel; float32, or int32 if there are scales.
        bias_scales: scales of the int32 bias.
    """

    kernel: npt.NDArray[Any]
    scales: _FLOATS | None
    bias: npt.NDArray[Any]
    bias_scales: _FLOATS | None

    def reordered(self, order: Sequence[int]) -> Filter:
        """The same filter with its output channels in another order."""
        scales, bias_scales = (
            given[list(order)] if given is not None and len(given) > 1 else given
            for given in (self.scales, self.bias_scales)
        )
        return Filter(self.kernel[list(order)], scales, self.bias[list(order)], bias_scales)

    def kernel_tensor(self, op: Op, permutation: Sequence[int]) -> int:
        """The weights as a constant, stored in the order `permutation` of their axes (0 is the output channel)."""
        quantiser = _symmetric(self.scales, list(permutation).index(0))
        return op.emitter.constant(self.kernel.transpose(permutation), quantiser, "weights")

    def bias_tensor(self, op: Op) -> int:
        """The bias as a constant."""
        return op.emitter.constant(self.bias, _symmetric(self.bias_scales, 0), "bias")


def int8_weights(op: Op, axis: int) -> bool:
    """Whether input 1 is int8 as TFLite wants it: constant, symmetric, one scale or one for each slice of `axis`."""
    constant = op.constant(1)
    quantiser = constant.quantiser if constant is not None else None
    if constant is None or quantiser is None or constant.array.dtype != np.int8 or any(quantiser.zero_points):
        return False
    return quantiser.per_tensor or quantiser.axis == axis % constant.array.ndim


def read_filter(op: Op, output_axis: int, bias_index: int, repeats: int = 1) -> Filter:
    """Weights from input 1, whose axis `output_axis` counts the output channels, and bias from input `bias_index`.

    Args:
        repeats: how many groups share each entry of that axis; scales and bias have `repeats` times its length.
    """
    constant = op.constant(1)
    if constant is None:
        op.refuse("its weights are computed at run time", "Make the weights constant.")
    quantiser = constant.quantiser if op.int8 else None
    kernel = np.moveaxis(constant.array if quantiser is not None else constant.real(), output_axis, 0)
    bias = _real_bias(op, bias_index, len(kernel) * repeats)
    source = op.input_quantiser(0)
    if quantiser is None or source is None:
        return Filter(kernel, None, bias, None)
    scales = np.array(quantiser.scales, np.float32)
    scales = np.tile(scales, repeats) if len(scales) > 1 else scales
    return Filter(kernel, scales, *_int32_bias(op, bias_index, bias, np.float32(source.scale) * scales))


def _real_bias(op: Op, index: int, channels: int) -> _FLOATS:
    if not op.has(index):
        return np.zeros(channels, np.float32)
    constant = op.constant(index)
    if constant is None:
        op.refuse("its bias is computed at run time", "Make the bias constant, or add it in an operator of its own.")
    return np.broadcast_to(constant.real().astype(np.float32).reshape(-1), channels)


def _int32_bias(op: Op, index: int, real: _FLOATS, scales: _FLOATS) -> tuple[npt.NDArray[np.int32], _FLOATS]:
    """int32 biases of the scale ``s_input * s_weight`` as they are, others rounded to that scale."""
    constant = op.constant(index)
    given = constant.quantiser if constant is not None else None
    if constant is not None and given is not None and constant.array.dtype == np.int32:
        given_scales = np.array(given.scales, np.float32)
        if given_scales.shape == scales.shape and np.allclose(given_scales, scales, rtol=1e-6, atol=0):
            return constant.array.reshape(-1), given_scales
    limit = float(2**31 - 1)
    return np.clip(np.rint(real.astype(np.float64) / scales), -limit, limit).astype(np.int32), scales


def _symmetric(scales: _FLOATS | None, axis: int) -> Quantiser | None:
    if scales is None:
        return None
    return Quantiser(tuple(scales.tolist()), (0,) * len(scales), axis if len(scales) > 1 else 0)
