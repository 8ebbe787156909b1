"""Depthwise separable convolution: one k x k filter a channel, then a 1x1 (Sifre 2014; Chollet 2017)."""

from __future__ import annotations

import torch
from torch import nn

from edgeconv.layers.factorised.base import ConvShape, Factorised, conv_like, require_plain

__all__ = ["DepthwiseSeparable"]


class DepthwiseSeparable(Factorised):
    """``W[f, c] = pointwise[f, c] * depthwise[c]``: ``kH kW C + C F`` parameters."""

    @staticmethod
    def weight_count(shape: ConvShape) -> int:
        """Without biases; ``1 / F + 1 / k^2`` of the dense ones, so no saving for a 1x1."""
        kernel_h, kernel_w = shape.kernel_size
        return shape.in_channels * (kernel_h * kernel_w + shape.out_channels)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> DepthwiseSeparable:
        """The nearest one: of each input channel's F x k^2 matrix the first singular pair.

        Raises:
            UsageError: `conv` cannot be factored, see `require_plain`.
        """
        require_plain(cls.__name__, conv)
        out, channels, kernel_h, kernel_w = conv.weight.shape
        matrices = conv.weight.detach().double().permute(1, 0, 2, 3).reshape(channels, out, -1)
        u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
        root = s[:, :1].sqrt()
        depthwise = (root * vh[:, 0]).reshape(channels, 1, kernel_h, kernel_w)
        pointwise = (root * u[:, :, 0]).T.reshape(out, channels, 1, 1)
        return cls(
            conv_like(conv, depthwise, spatial=True, groups=channels),
            conv_like(conv, pointwise, spatial=False, bias=True),
        )
