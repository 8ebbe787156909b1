"""Truncated SVD between channels: a k x k convolution to r channels beside a 1x1, in either order."""

from __future__ import annotations

import torch
from torch import nn

from edgeconv.layers.factorised.base import ConvShape, Factorised, check_rank, conv_like, require_plain

__all__ = ["ChannelSvd", "PointwiseFirstSvd"]


class ChannelSvd(Factorised):
    """k x k from C to r, then 1x1 from r to F: ``r (kH kW C + F)`` parameters (Denton 2014; Zhang 2015)."""

    @staticmethod
    def largest_rank(shape: ConvShape) -> int:
        """From here on the layer is the dense one: ``min(kH kW C, F)``."""
        return min(shape.kernel_size[0] * shape.kernel_size[1] * shape.in_channels, shape.out_channels)

    @staticmethod
    def weight_count(shape: ConvShape, rank: int) -> int:
        """Without biases."""
        kernel_h, kernel_w = shape.kernel_size
        return rank * (kernel_h * kernel_w * shape.in_channels + shape.out_channels)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, rank: int) -> ChannelSvd:
        """The nearest one of this rank.

        Raises:
            UsageError: `conv` cannot be factored, or the rank is out of its range.
        """
        require_plain(cls.__name__, conv)
        check_rank(cls.__name__, "rank", rank, cls.largest_rank(ConvShape.of(conv)))
        out, channels, kernel_h, kernel_w = conv.weight.shape
        u, s, vh = torch.linalg.svd(conv.weight.detach().double().reshape(out, -1), full_matrices=False)
        root = s[:rank].sqrt()
        spatial = (root[:, None] * vh[:rank]).reshape(rank, channels, kernel_h, kernel_w)
        pointwise = (u[:, :rank] * root)[:, :, None, None]
        return cls(
            conv_like(conv, spatial, spatial=True),
            conv_like(conv, pointwise, spatial=False, bias=True),
        )


class PointwiseFirstSvd(Factorised):
    """1x1 from C to r, then k x k from r to F: ``r (C + kH kW F)`` parameters."""

    @staticmethod
    def largest_rank(shape: ConvShape) -> int:
        """From here on the layer is the dense one: ``min(C, kH kW F)``."""
        return min(shape.in_channels, shape.kernel_size[0] * shape.kernel_size[1] * shape.out_channels)

    @staticmethod
    def weight_count(shape: ConvShape, rank: int) -> int:
        """Without biases."""
        kernel_h, kernel_w = shape.kernel_size
        return rank * (shape.in_channels + kernel_h * kernel_w * shape.out_channels)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, rank: int) -> PointwiseFirstSvd:
        """The nearest one of this rank.

        Raises:
            UsageError: `conv` cannot be factored, or the rank is out of its range.
        """
        require_plain(cls.__name__, conv)
        check_rank(cls.__name__, "rank", rank, cls.largest_rank(ConvShape.of(conv)))
        out, channels, kernel_h, kernel_w = conv.weight.shape
        matrix = conv.weight.detach().double().permute(0, 2, 3, 1).reshape(-1, channels)
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        root = s[:rank].sqrt()
        pointwise = (root[:, None] * vh[:rank])[:, :, None, None]
        spatial = (u[:, :rank] * root).reshape(out, kernel_h, kernel_w, rank).permute(0, 3, 1, 2)
        return cls(
            conv_like(conv, pointwise, spatial=False),
            conv_like(conv, spatial, spatial=True, bias=True),
        )
