"""A gate that is a free map of parameters instead of a function of the coordinates.

The alternative in the last version of the CoordGate author's code: non-negative, if wanted at a lower resolution than
the image.  It has a value for every channel and position, where an encoder has a few thousand weights in all.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError, UsageError

__all__ = ["MapGate2d"]


class MapGate2d(nn.Module):
    """``project(x * relu(map))``: (N, C, H, W) in, (N, out_channels, H, W) out, for the one size it was built for.

    Args:
        channels: C.
        height: rows of the image in pixels.
        width: columns of the image in pixels.
        out_channels: of the 1x1 convolution `project`; as many as `channels` by default.
        map_size: rows and columns of the parameters; the image's by default.
        interpolation: "nearest" or "bilinear", how a smaller map is brought to the image's size.

    Raises:
        UsageError: a size is not positive or larger than the image's, or no such interpolation.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        out_channels: int | None = None,
        map_size: tuple[int, int] | None = None,
        interpolation: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        rows, columns = map_size or (height, width)
        if min(channels, height, width, rows, columns) < 1 or rows > height or columns > width:
            raise UsageError(
                f"MapGate2d: a map of {rows}x{columns} for {channels} channels of {height}x{width} pixels; expected "
                "positive sizes and a map no larger than the image."
            )
        if interpolation not in ("nearest", "bilinear"):
            raise UsageError(f"MapGate2d: interpolation must be 'nearest' or 'bilinear', found {interpolation!r}.")
        self.size, self.interpolation = (height, width), interpolation
        self.map = nn.Parameter(torch.ones(1, channels, rows, columns))
        self.project = nn.Conv2d(channels, channels if out_channels is None else out_channels, 1)

    def gate_map(self) -> Tensor:
        """The gate, (1, C, H, W), never negative."""
        gate = torch.relu(self.map)
        if tuple(gate.shape[-2:]) == self.size:
            return gate
        corners = False if self.interpolation == "bilinear" else None
        return nn.functional.interpolate(gate, self.size, mode=self.interpolation, align_corners=corners)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H, W).

        Raises:
            ModelError: the image has another size.
        """
        if tuple(x.shape[-2:]) != self.size:
            raise ModelError(
                f"MapGate2d is built for images of {self.size[0]}x{self.size[1]} pixels, found "
                f"{x.shape[-2]}x{x.shape[-1]}."
            )
        return self.project(x * self.gate_map())  # type: ignore[no-any-return]
