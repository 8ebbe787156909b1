"""The U-Net of the SFConv experiments (Feng et al. 2024, arXiv 2403.00606; the authors' code of 2021-2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.blocks import DoubleConv, check_divisible
from edgeconv.models.registry import register

__all__ = ["UNet"]

_ENCODER_WIDTHS = (64, 128, 256, 512, 512)
_DECODER_STAGES = ((1024, 512, 256), (512, 256, 128), (256, 128, 64), (128, 64, 64))
_LEVELS = len(_ENCODER_WIDTHS)


@register("sfconv-unet")
class UNet(nn.Module):
    """Five levels with bilinear up-sampling, all 3x3 convolutions factored; (N, C, H, W) in, logits of that size out.

    Args:
        in_channels: of the image.
        out_channels: of the logits.
        rank_scale: rank of each SFConv as a share of its smaller channel count; None keeps the convolutions dense.

    Raises:
        UsageError: `rank_scale` is not positive or asks for more than the full rank.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 1, *, rank_scale: float | None = 0.25) -> None:
        super().__init__()
        inputs = (in_channels, *_ENCODER_WIDTHS)
        self.encoder = nn.ModuleList(
            DoubleConv(inputs[level], inputs[level + 1], rank_scale=rank_scale) for level in range(_LEVELS)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.decoder = nn.ModuleList(
            DoubleConv(first, last, mid_channels=middle, rank_scale=rank_scale)
            for first, middle, last in _DECODER_STAGES
        )
        self.head = nn.Conv2d(_DECODER_STAGES[-1][-1], out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W); H and W are multiples of 16.

        Raises:
            ModelError: the size cannot be halved four times.
        """
        check_divisible(x.shape[-2], x.shape[-1], _LEVELS)
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(self.pool(x) if skips else x)
            skips.append(x)
        skips.pop()
        for block in self.decoder:
            x = block(torch.cat([skips.pop(), self.up(x)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]
