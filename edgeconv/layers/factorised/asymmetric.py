"""Asymmetric convolution: 1 x k, an activation, k x 1; trained as it is (Szegedy et al. 2016)."""

from __future__ import annotations

from torch import nn

from edgeconv.errors import UsageError
from edgeconv.layers.factorised.base import ConvShape
from edgeconv.layers.sfconv import SFConv2d

__all__ = ["AsymmetricConv2d"]


class AsymmetricConv2d(nn.Sequential):
    """1 x kW from C to m, batch-free activation, kH x 1 from m to F: ``kW C m + kH m F`` parameters.

    Without an activation it is an `SFConv2d` of rank m and can be merged; with one it is no single convolution.
    """

    def __init__(self, factored: SFConv2d, activation: nn.Module | None = None) -> None:
        middle = [] if activation is None else [activation]
        super().__init__(factored.horizontal, *middle, factored.vertical)
        self._factored = [factored]  # in a list: its convolutions are registered once, above

    @staticmethod
    def weight_count(shape: ConvShape, channels: int) -> int:
        """Without biases."""
        kernel_h, kernel_w = shape.kernel_size
        return kernel_w * shape.in_channels * channels + kernel_h * channels * shape.out_channels

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, channels: int, activation: nn.Module | None = None) -> AsymmetricConv2d:
        """Starts from the nearest linear pair of `channels` channels in between; an activation must be trained in.

        Raises:
            UsageError: `conv` cannot be factored, or `channels` is out of its range.
        """
        return cls(SFConv2d.from_conv(conv, channels), activation)

    def merge(self) -> nn.Conv2d:
        """The dense convolution that computes the same.

        Raises:
            UsageError: there is an activation in between.
        """
        if len(self) != 2:
            raise UsageError(f"{type(self[1]).__name__} stands between the two convolutions; they cannot be merged.")
        return self._factored[0].merge()
