"""What the models are put together from."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.errors import ModelError
from edgeconv.layers.coordgate import CoordGate2d
from edgeconv.layers.sfconv import SFConv2d, rank_from_scale

__all__ = ["DoubleConv", "check_divisible", "make_conv"]


def make_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    rank_scale: float | None,
    stride: int = 1,
    bias: bool = True,
) -> nn.Module:
    """A convolution padded to keep the size (at stride 1): `SFConv2d` at a rank scale, dense where that is None."""
    padding = kernel_size // 2
    if rank_scale is None:
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias)
    rank = rank_from_scale(rank_scale, in_channels, out_channels)
    return SFConv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias, rank=rank)


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm (optional) and ReLU, then a CoordGate (optional).

    Args:
        in_channels: of the first convolution.
        out_channels: of the second.
        mid_channels: between the two; as many as `out_channels` by default.
        rank_scale: of both, see `make_conv`.
        bias: whether the convolutions have one.
        norm: whether there are BatchNorms.
        gate: what stands at the end.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        mid_channels: int | None = None,
        rank_scale: float | None = None,
        bias: bool = True,
        norm: bool = True,
        gate: CoordGate2d | None = None,
    ) -> None:
        super().__init__()
        middle = out_channels if mid_channels is None else mid_channels
        self.conv1 = make_conv(in_channels, middle, 3, rank_scale=rank_scale, bias=bias)
        self.norm1 = nn.BatchNorm2d(middle) if norm else nn.Identity()
        self.relu1 = nn.ReLU()
        self.conv2 = make_conv(middle, out_channels, 3, rank_scale=rank_scale, bias=bias)
        self.norm2 = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.relu2 = nn.ReLU()
        self.gate = nn.Identity() if gate is None else gate

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(self.norm2(self.conv2(x)))
        return self.gate(x)  # type: ignore[no-any-return]


def check_divisible(height: int, width: int, levels: int) -> None:
    """Raise `ModelError` unless both sizes can be halved `levels - 1` times."""
    factor = 2 ** (levels - 1)
    if height < 1 or width < 1 or height % factor or width % factor:
        up = [max(factor, -(-size // factor) * factor) for size in (height, width)]
        raise ModelError(
            f"A network of {levels} levels needs sides that are multiples of {factor} pixels, found {height}x{width}.",
            f"The next larger size is {up[0]}x{up[1]}.",
        )
