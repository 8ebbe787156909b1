"""ResNet-18 (He et al. 2016) with factored convolutions, as in the SFConv experiments."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.blocks import make_conv
from edgeconv.models.registry import register

__all__ = ["ResNet18"]

_WIDTHS = (64, 128, 256, 512)


@register("sfconv-resnet18")
class ResNet18(nn.Module):
    """Classifier of images; (N, C, H, W) in, (N, classes) logits out.

    Args:
        in_channels: of the image.
        classes: number of logits.
        rank_scale: rank of each convolution, stem and shortcuts included, as a share of its smaller channel count;
            None keeps them dense.

    Raises:
        UsageError: `rank_scale` is not positive or asks for more than the full rank.
    """

    def __init__(self, in_channels: int = 3, classes: int = 3, *, rank_scale: float | None = 0.25) -> None:
        super().__init__()
        stem = _WIDTHS[0]
        self.stem = _ConvNorm(in_channels, stem, 7, 2, rank_scale)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = (stem, *_WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(
                _BasicBlock(inputs[k], width, 1 if k == 0 else 2, rank_scale), _BasicBlock(width, width, 1, rank_scale)
            )
            for k, width in enumerate(_WIDTHS)
        )
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, classes)."""
        x = self.pool(self.relu(self.stem(x)))
        for stage in self.stages:
            x = stage(x)
        return self.classifier(self.flatten(self.average(x)))  # type: ignore[no-any-return]


class _ConvNorm(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, rank_scale: float | None
    ) -> None:
        super().__init__()
        self.conv = make_conv(in_channels, out_channels, kernel_size, stride=stride, rank_scale=rank_scale, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, rank_scale: float | None) -> None:
        super().__init__()
        self.first = _ConvNorm(in_channels, out_channels, 3, stride, rank_scale)
        self.relu1 = nn.ReLU()
        self.second = _ConvNorm(out_channels, out_channels, 3, 1, rank_scale)
        same = in_channels == out_channels and stride == 1
        self.shortcut = nn.Identity() if same else _ConvNorm(in_channels, out_channels, 1, stride, rank_scale)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu1(self.first(x)))
        return self.relu2(y + self.shortcut(x))  # type: ignore[no-any-return]
