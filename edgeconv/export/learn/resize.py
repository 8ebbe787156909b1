"""ONNX `Resize` in torch, axis by axis: nearest and linear, for every rule of where the samples lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor

from edgeconv.errors import ExportError
from edgeconv.graph import constant_value, static_shape

__all__ = ["make_resize"]

_Floats = npt.NDArray[np.float64]

_POSITIONS: Mapping[str, Callable[[_Floats, float, int, int], _Floats]] = {
    "half_pixel": lambda x, scale, old, new: (x + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda x, scale, old, new: (x + 0.5) / scale - 0.5 if new > 1 else 0 * x,
    "align_corners": lambda x, scale, old, new: x * (old - 1) / (new - 1) if new > 1 else 0 * x,
    "asymmetric": lambda x, scale, old, new: x / scale,
}
"""From the output's coordinates to the input's, by `coordinate_transformation_mode`."""

_ROUNDED: Mapping[str, Callable[[_Floats], _Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def make_resize(node: ir.Node) -> Callable[[Sequence[Tensor]], Tensor] | None:
    """The function of a Resize; None where its sizes are not constant or its mode is another."""
    text = node.attributes.get_string
    positions = _POSITIONS.get(text("coordinate_transformation_mode", "half_pixel"))
    mode, rounded = text("mode", "nearest"), _ROUNDED.get(text("nearest_mode", "round_prefer_floor"))
    others = ("antialias", "exclude_outside", "axes")
    if positions is None or rounded is None or mode not in ("nearest", "linear"):
        return None
    if any(name in node.attributes and node.attributes[name].value for name in others) or node.inputs[0] is None:
        return None
    try:
        old, new = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    except ExportError:
        return None
    scales = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
    ratios = [b / a for a, b in zip(old, new, strict=True)] if scales is None or not scales.size else list(scales)
    steps: list[Callable[[Tensor], Tensor]] = []
    for axis, (ratio, before, after) in enumerate(zip(ratios, old, new, strict=True)):
        if before != after or ratio != 1:
            at = positions(np.arange(after, dtype=np.float64), float(ratio), before, after)
            steps.append(_nearest(axis, rounded(at), before) if mode == "nearest" else _linear(axis, at, before))

    def run(inputs: Sequence[Tensor]) -> Tensor:
        x = inputs[0]
        for step in steps:
            x = step(x)
        return x

    return run


def _nearest(axis: int, at: _Floats, size: int) -> Callable[[Tensor], Tensor]:
    index = torch.from_numpy(np.clip(at, 0, size - 1).astype(np.int64))
    return lambda x: x.index_select(axis, index)


def _linear(axis: int, at: _Floats, size: int) -> Callable[[Tensor], Tensor]:
    at = np.clip(at, 0, size - 1)
    left = np.floor(at).astype(np.int64)
    first, second = torch.from_numpy(left), torch.from_numpy(np.minimum(left + 1, size - 1))
    share = torch.from_numpy((at - left).astype(np.float32))

    def run(x: Tensor) -> Tensor:
        weight = share.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        return torch.lerp(x.index_select(axis, first), x.index_select(axis, second), weight)

    return run
