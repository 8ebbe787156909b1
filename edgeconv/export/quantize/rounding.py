"""Integer weights that make up for each other's rounding on the inputs that a layer really gets.

Rounding to nearest makes each weight's error least; what counts is the error of the weighted sum. With the covariance
H of a layer's input patches it is ``e^T H e`` for the errors e of one output channel. The mean of the inputs is left
out of H, because the bias correction that follows takes it away.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.executor import Array
from edgeconv.export.quantize.units import IntegerConstant

__all__ = ["RoundedWeights", "round_weights"]

_POSITIONS, _POSITIONS_EACH = 60_000, 120  # patches that H rests on: at most, and for each of its rows
_MAX_FAN_IN = 512  # beyond it inverting H takes longer than it is worth; such layers average their errors out
_DAMPING = 1e-2
_RATIOS = np.linspace(0.55, 1.0, 37)  # of the scale at which the largest weight is 127
_LARGEST = 127

_Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class RoundedWeights:
    """New integers in the shape of the old ones, and the scale of each output channel."""

    integers: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]


def round_weights(
    node: ir.Node, weights: Array, current: IntegerConstant, inputs: Sequence[Array]
) -> RoundedWeights | None:
    """Choose scale and integers of a convolution's weights anew.

    1. The scale of each output channel is the one among 37 that leaves the least ``e^T H e``.
    2. Column by column, the largest input first, the error of a weight is spread over the weights not yet rounded
       (E. Frantar et al., "GPTQ", ICLR 2023, after B. Hassibi's optimal brain surgeon).
    A channel keeps its old integers where the new ones are not better.

    Args:
        node: a Conv; for anything else, and for a fan-in above 512, there is no answer.
        weights: its float weights, output channel first.
        current: its integers.
        inputs: the float input for each calibration sample, as the quantised network computes it.
    """
    if node.op_type != "Conv" or current.axis != 0 or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return None
    groups, fan_in = node.attributes.get_int("group", 1), int(np.prod(weights.shape[1:]))
    if fan_in > _MAX_FAN_IN or weights.ndim != 4:
        return None
    flat = weights.reshape(groups, -1, fan_in).astype(np.float64)
    integers = current.integers.reshape(flat.shape).astype(np.float64)
    scales = current.scale.astype(np.float64).reshape(groups, -1)
    for group, covariance in enumerate(_covariances(node, weights.shape[2:], groups, inputs)):
        if not np.trace(covariance) > 0:
            continue
        old = _cost(flat[group] - integers[group] * scales[group][:, None], covariance)
        new_scales = _best_scales(flat[group], scales[group], covariance)
        rounded = _spread(flat[group], new_scales, covariance)
        better = _cost(flat[group] - rounded * new_scales[:, None], covariance) < old
        integers[group][better] = rounded[better]
        scales[group][better] = new_scales[better]
    return RoundedWeights(
        integers.reshape(weights.shape).astype(np.int8), scales.reshape(current.scale.shape).astype(np.float32)
    )


def _cost(errors: _Floats, covariance: _Floats) -> _Floats:
    """``e^T H e`` of each row."""
    return np.asarray(np.einsum("oi,oi->o", errors @ covariance, errors), np.float64)


def _best_scales(weights: _Floats, scales: _Floats, covariance: _Floats) -> _Floats:
    best, least = scales.copy(), np.full(len(scales), np.inf)
    for ratio in _RATIOS:
        candidate = scales * ratio
        cost = _cost(weights - _nearest(weights, candidate) * candidate[:, None], covariance)
        better = cost < least
        best[better], least[better] = candidate[better], cost[better]
    return np.asarray(best.astype(np.float32), np.float64)


def _nearest(weights: _Floats, scales: _Floats) -> _Floats:
    return np.asarray(np.clip(np.rint(weights / scales[:, None]), -_LARGEST, _LARGEST), np.float64)


def _spread(weights: _Floats, scales: _Floats, covariance: _Floats) -> _Floats:
    order = np.argsort(-np.diag(covariance), kind="stable")
    damping = _DAMPING * np.mean(np.diag(covariance))
    inverse = np.linalg.inv(covariance[np.ix_(order, order)] + damping * np.eye(len(order)))
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left = weights[:, order].copy()
    rounded = np.empty_like(left)
    for column in range(left.shape[1]):
        rounded[:, column] = np.clip(np.rint(left[:, column] / scales), -_LARGEST, _LARGEST)
        error = (left[:, column] - rounded[:, column] * scales) / factor[column, column]
        left[:, column + 1 :] -= np.outer(error, factor[column, column + 1 :])
    return np.asarray(rounded[:, np.argsort(order)], np.float64)


def _covariances(node: ir.Node, kernel: tuple[int, ...], groups: int, inputs: Sequence[Array]) -> list[_Floats]:
    """The covariance of the input patches of each group, over randomly chosen positions of every sample."""
    strides = node.attributes.get_ints("strides", [1, 1])
    dilations = node.attributes.get_ints("dilations", [1, 1])
    top, left, bottom, right = node.attributes.get_ints("pads", [0] * 4)
    span = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    positions = min(_POSITIONS, _POSITIONS_EACH * inputs[0].shape[1] // groups * math.prod(kernel))
    rng = np.random.default_rng(0)
    patches = []
    for array in inputs:
        padded = np.pad(array, ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
        windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
        images, _channels, rows, columns = windows.shape[:4]
        total = images * rows * columns
        count = min(total, positions // len(inputs))
        chosen = np.unravel_index(rng.choice(total, count, replace=False), (images, rows, columns))
        picked = windows[chosen[0], :, chosen[1], chosen[2]]  # positions x channels x kernel
        patches.append(picked.reshape(count, groups, -1))
    stacked = np.concatenate(patches)
    stacked -= stacked.mean(axis=0, dtype=np.float64).astype(np.float32)
    products = (stacked[:, group].T @ stacked[:, group] for group in range(groups))  # float32: the damping is far above
    return [product.astype(np.float64) / len(stacked) for product in products]
