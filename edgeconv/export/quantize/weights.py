"""Integer weights and biases of one operator, per output channel."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array

__all__ = ["BIAS_LIMIT", "QuantisedWeights", "bias_scale", "quantise_bias", "quantise_weights"]

BIAS_LIMIT = 2**30
"""Bound of integer biases: the int32 accumulator keeps one bit for the bias and one for the products."""

_LARGEST = 127
# The least (input scale * weight scale / output scale). Below it a kernel's fixed-point multiplier runs out of shift
# (XNNPACK refuses under 2^-32), and the whole channel is far below one step of its output.
_LEAST_MULTIPLIER = 2.0**-24
# Biases may still grow by their correction.
_BIAS_HEADROOM = 0.5


@dataclasses.dataclass(frozen=True)
class QuantisedWeights:
    """Weights in [-127, 127], one float32 scale for each channel of `axis`; `raised` lists channels with a coarser
    scale than their largest weight asks for."""

    values: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    axis: int
    raised: tuple[int, ...]


def quantise_weights(
    weights: Array, axis: int, bias: Array | None, *, input_scale: float, output_scale: float, where: str
) -> QuantisedWeights:
    """Round `weights` to the nearest step; the scale of a channel makes its largest weight 127.

    A channel's scale is raised where its bias would otherwise exceed `BIAS_LIMIT`, and where its products would be
    too small for a kernel's multiplier. Neither costs accuracy: in both cases the weights move the output by much
    less than one of its steps.

    Args:
        weights: float weights of any rank.
        axis: the axis of output channels.
        bias: one value for each output channel. Grouped transposed convolutions have several channels for each entry
            of `axis`.
        input_scale: of the activation that is multiplied with the weights.
        output_scale: of the result; 0 where that stays in float.
        where: names the operator in errors.

    Raises:
        ExportError: weights or bias are not finite.
    """
    for what, array in (("weights", weights), ("bias", bias)):
        if array is not None and not np.isfinite(array).all():
            raise ExportError(f"The {what} of {where} are not finite.", "Check the checkpoint.")
    others = tuple(i for i in range(weights.ndim) if i != axis)
    ideal = np.abs(weights).max(axis=others, initial=0.0).astype(np.float64) / _LARGEST
    needed = np.full_like(ideal, _LEAST_MULTIPLIER * output_scale / input_scale)
    if bias is not None:
        largest_bias = np.abs(bias.astype(np.float64)).reshape(-1, len(ideal)).max(axis=0)
        needed = np.maximum(needed, largest_bias / (input_scale * BIAS_LIMIT * _BIAS_HEADROOM))
    scale = np.maximum(ideal, needed).astype(np.float32)
    scale[scale == 0] = scale.max() or 1.0  # a channel of zeros without a bias: any scale will do
    shape = [1] * weights.ndim
    shape[axis] = -1
    values = np.clip(np.rint(weights / scale.reshape(shape)), -_LARGEST, _LARGEST).astype(np.int8)
    raised = tuple(int(channel) for channel in np.flatnonzero((needed > ideal) & (ideal > 0)))
    return QuantisedWeights(values, scale, axis, raised)


def bias_scale(input_scale: float, weight_scale: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """The float32 scale of each bias: input scale times weight scale, repeated for grouped transposed convolutions."""
    scale = np.float32(input_scale) * weight_scale
    return np.tile(scale, channels // len(scale)).astype(np.float32)


def quantise_bias(bias: Array, scale: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Integer biases; `quantise_weights` has seen to it that they are within `BIAS_LIMIT`."""
    return np.rint(bias.astype(np.float64) / scale).astype(np.int32)
