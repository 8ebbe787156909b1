"""Multiply-accumulates and parameters of a torch module, without running it."""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["count_macs", "count_parameters"]

_COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def count_macs(module: nn.Module, *input_shapes: tuple[int, ...]) -> int:
    """Multiply-accumulates of all convolutions and linear layers for inputs of these shapes.

    Shapes only are computed (on the meta device).  A CoordGate's encoder counts as it is in training; an export of
    fixed size replaces it by a constant.
    """
    shadow = copy.deepcopy(module).to("meta").eval()
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        counts.append(_layer_macs(layer, inputs[0], output))

    for layer in shadow.modules():
        if isinstance(layer, _COUNTED):
            layer.register_forward_hook(count)
    with torch.no_grad():
        shadow(*(torch.empty(shape, device="meta") for shape in input_shapes))
    return sum(counts)


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module; one that is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _layer_macs(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    weight = cast(Tensor, layer.weight)
    # Each input element of a transposed convolution meets the whole kernel of one channel, each output element of the
    # others does.
    transposed = isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    return (x if transposed else y).numel() * math.prod(weight.shape[1:])
