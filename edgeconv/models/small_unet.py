"""The demonstration network: a U-Net with SFConv pairs and CoordGates."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.layers.coordgate import CoordGate2d
from edgeconv.models.blocks import DoubleConv
from edgeconv.models.encoder_decoder import EncoderDecoder
from edgeconv.models.registry import register

__all__ = ["SmallUNet"]

_GATE_WIDTH = 32


@register("small-unet")
class SmallUNet(EncoderDecoder):
    """U-Net whose blocks are two (SFConv 3x3, BatchNorm, ReLU) and a CoordGate; (N, C, H, W) in and out.

    Args:
        in_channels: of the image.
        out_channels: of the result.
        widths: channels of each level, the full resolution first.
        height: rows of the image in pixels, a multiple of 2 ** (levels - 1).
        width: columns of the image in pixels, likewise.
        rank_scale: rank of each SFConv as a share of its smaller channel count.
        gates: False leaves the CoordGates out (and accepts every divisible size).
        factored: False makes the 3x3 convolutions dense.
        residual: True adds the result to the image.

    Raises:
        ModelError: the size cannot be halved as often as there are levels.
        UsageError: `residual` with different numbers of channels, or another argument out of its range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        widths: Sequence[int] = (16, 32, 64),
        height: int = 256,
        width: int = 256,
        *,
        rank_scale: float = 0.75,
        gates: bool = True,
        factored: bool = True,
        residual: bool = False,
    ) -> None:
        if residual and in_channels != out_channels:
            raise UsageError(
                f"A residual network needs as many output channels as input channels, found {out_channels} and "
                f"{in_channels}."
            )

        def make_block(block_in: int, block_out: int, rows: int, columns: int) -> nn.Module:
            gate = CoordGate2d(block_out, rows, columns, hidden_width=_GATE_WIDTH, out_act="relu") if gates else None
            scale = rank_scale if factored else None
            return DoubleConv(block_in, block_out, rank_scale=scale, bias=False, gate=gate)

        super().__init__(in_channels, out_channels, widths, height, width, make_block, skip_first=False)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        y = super().forward(x)
        return x + y if self.residual else y
