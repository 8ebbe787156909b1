"""The U-shape that the gated networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.models.blocks import check_divisible

__all__ = ["EncoderDecoder"]

MakeBlock = Callable[[int, int, int, int], nn.Module]
"""Input channels, output channels, height and width in pixels to a block that keeps the size."""


class EncoderDecoder(nn.Module):
    """Blocks joined by 2x2 max-pooling, 2x2 transposed convolutions and skip connections, and a 1x1 head.

    Args:
        in_channels: of the image.
        out_channels: of the head.
        widths: channels of each level, the full resolution first.
        height: rows of the image in pixels, a multiple of 2 ** (levels - 1).
        width: columns of the image in pixels, likewise.
        make_block: the block of each level.
        skip_first: whether the skip connection comes before the up-sampled half in the concatenation.

    Raises:
        ModelError: the size cannot be halved as often as there are levels.
        UsageError: `widths` is empty.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        height: int,
        width: int,
        make_block: MakeBlock,
        *,
        skip_first: bool,
    ) -> None:
        super().__init__()
        if not widths:
            raise UsageError("A network needs the width of at least one level.")
        check_divisible(height, width, len(widths))
        self.levels = len(widths)
        self.skip_first = skip_first
        sizes = [(height >> level, width >> level) for level in range(self.levels)]
        inputs = [in_channels, *widths]
        self.encoder = nn.ModuleList(
            make_block(inputs[level], widths[level], *sizes[level]) for level in range(self.levels - 1)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = make_block(inputs[-2], widths[-1], *sizes[-1])
        upwards = range(self.levels - 2, -1, -1)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], kernel_size=2, stride=2) for level in upwards
        )
        self.decoder = nn.ModuleList(make_block(2 * widths[level], widths[level], *sizes[level]) for level in upwards)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        check_divisible(x.shape[-2], x.shape[-1], self.levels)
        skips: list[Tensor] = []
        for block in self.encoder:
            skips.append(block(x))
            x = self.pool(skips[-1])
        x = self.bottleneck(x)
        for up, block in zip(self.up, self.decoder, strict=True):
            skip = skips.pop()
            x = block(torch.cat([skip, up(x)] if self.skip_first else [up(x), skip], dim=1))
        return self.head(x)  # type: ignore[no-any-return]
