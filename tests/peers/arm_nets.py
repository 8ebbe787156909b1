"""The separable networks for inputs of 64x64: the same operators with the same weights, a sixteenth of the values.

An emulated core needs minutes for a whole image.
"""

from __future__ import annotations

from nets import million_unet
from torch import nn

from edgeconv.training.tasks import get_task

__all__ = ["SIZE_PX", "deblur", "million", "vessels"]

SIZE_PX = 64


def vessels() -> nn.Module:
    return get_task("vessels").build_model(SIZE_PX, SIZE_PX)


def deblur() -> nn.Module:
    return get_task("deblur").build_model(SIZE_PX, SIZE_PX)


def million() -> nn.Module:
    return million_unet(SIZE_PX, SIZE_PX)
