"""CoordConv: coordinates as two more input channels (Liu et al. 2018), the method that CoordGate is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError
from edgeconv.layers.coordgate import coordinate_grid

__all__ = ["CoordConv2d"]


class CoordConv2d(nn.Module):
    """A `torch.nn.Conv2d` that also sees row and column, each from -1 to 1; for the one size it was built for.

    Args:
        in_channels: of the image, coordinates not counted.
        out_channels: of the result.
        kernel_size: as for `torch.nn.Conv2d`.
        height: rows of the image in pixels.
        width: columns of the image in pixels.
        options: further arguments of `torch.nn.Conv2d`.
    """

    coordinates: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, height: int, width: int, **options: Any
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels + 2, out_channels, kernel_size, **options)
        grid = coordinate_grid(height, width).permute(2, 0, 1).unsqueeze(0)
        self.register_buffer("coordinates", grid, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W').

        Raises:
            ModelError: the image has another size.
        """
        if x.shape[-2:] != self.coordinates.shape[-2:]:
            rows, columns = self.coordinates.shape[-2:]
            raise ModelError(f"CoordConv2d is built for {rows}x{columns} pixels, found {x.shape[-2]}x{x.shape[-1]}.")
        grid = self.coordinates.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        return self.conv(torch.cat([x, grid], dim=1))  # type: ignore[no-any-return]
