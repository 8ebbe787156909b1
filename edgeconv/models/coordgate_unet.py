"""The U-Net with CoordGates of Howard et al. 2024 (arXiv 2401.04680; the author's code of 2023-2024)."""

from __future__ import annotations

from torch import nn

from edgeconv.errors import UsageError
from edgeconv.layers.coordgate import CoordGate2d
from edgeconv.models.blocks import DoubleConv
from edgeconv.models.encoder_decoder import EncoderDecoder
from edgeconv.models.registry import register

__all__ = ["CoordGateUNet"]

_WIDTHS = (64, 128, 256, 512, 1024)


@register("coordgate-unet")
class CoordGateUNet(EncoderDecoder):
    """U-Net with a gate after each of its 2 * levels - 1 blocks; (N, C, H, W) in and out.

    A gate thus stands before each max-pooling (and on the skip connection), before each up-sampling and before the
    head.  Blocks are two 3x3 convolutions without bias and ReLUs.

    Args:
        in_channels: of the image.
        out_channels: of the result.
        levels: 1 to 5, of 64, 128, 256, 512 and 1024 channels.
        height: rows of the image in pixels, a multiple of 2 ** (levels - 1).
        width: columns of the image in pixels, likewise.
        gates: False leaves them out (and accepts every divisible size).
        affine: True takes the author's encoder without activations, False a perceptron with ReLUs.
        norm: True adds BatchNorms.

    Raises:
        ModelError: the size cannot be halved as often as there are levels.
        UsageError: `levels` is out of its range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        levels: int = 3,
        height: int = 256,
        width: int = 256,
        *,
        gates: bool = True,
        affine: bool = False,
        norm: bool = False,
    ) -> None:
        if levels not in range(1, len(_WIDTHS) + 1):
            raise UsageError(f"CoordGateUNet: levels must lie in 1 to {len(_WIDTHS)}, found {levels!r}.")
        make_gate = CoordGate2d.affine if affine else CoordGate2d

        def make_block(block_in: int, block_out: int, rows: int, columns: int) -> nn.Module:
            gate = make_gate(block_out, rows, columns) if gates else None
            return DoubleConv(block_in, block_out, bias=False, norm=norm, gate=gate)

        super().__init__(in_channels, out_channels, _WIDTHS[:levels], height, width, make_block, skip_first=True)
