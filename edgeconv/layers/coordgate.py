"""CoordGate: a gate that depends on the pixel's position only, then a 1x1 convolution.

Ordinary shared filters, weighted per pixel by ``G[c, i, j] = f_c(row_i, col_j)``, act as one spatially varying
convolution (Howard et al. 2024, arXiv 2401.04680).  For a fixed size the gate is a constant.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError, UsageError

__all__ = ["CoordGate2d", "coordinate_grid", "tile_coordinates"]

HiddenActivation = Literal["relu", "none"]
OutputActivation = Literal["none", "relu", "sigmoid"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}


class CoordGate2d(nn.Module):
    """``project(x * gate)``: (N, C, H, W) in, (N, out_channels, H, W) out, for the one size it was built for.

    The coordinates run from -1 to 1 over rows and columns, end points included.  They are not in the state dict, so
    weights fit every size.  `encoder` maps a pixel's two coordinates to C gates through linear layers of `hidden_width`
    and `project` is the 1x1 convolution.  Gates start around 1: one that a ReLU holds at 0 everywhere never learns.

    Args:
        channels: C.
        height: rows of the image in pixels.
        width: columns of the image in pixels.
        out_channels: of `project`; as many as `channels` by default.
        hidden_width: of the encoder.
        depth: linear layers of the encoder, at least 1.
        hidden_act: between its layers; "none" makes the gate an affine function of the coordinates.
        out_act: on the gate.

    Raises:
        UsageError: an argument is out of its range.
    """

    coordinates: Tensor

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        out_channels: int | None = None,
        hidden_width: int = 64,
        depth: int = 3,
        hidden_act: HiddenActivation = "relu",
        out_act: OutputActivation = "none",
    ) -> None:
        super().__init__()
        self.channels = _at_least_one("channels", channels)
        self.out_channels = self.channels if out_channels is None else _at_least_one("out_channels", out_channels)
        if hidden_act not in ("relu", "none"):
            raise UsageError(f"CoordGate2d: hidden_act must be 'relu' or 'none', found {hidden_act!r}.")
        if out_act not in _ACTIVATIONS:
            raise UsageError(f"CoordGate2d: out_act must be 'none', 'relu' or 'sigmoid', found {out_act!r}.")
        hidden = [_at_least_one("hidden_width", hidden_width)] * (_at_least_one("depth", depth) - 1)
        self.encoder = _encoder([2, *hidden, self.channels], hidden_act, out_act)
        self.project = nn.Conv2d(self.channels, self.out_channels, 1)
        self.register_buffer("coordinates", coordinate_grid(height, width), persistent=False)

    @classmethod
    def affine(
        cls,
        channels: int,
        height: int,
        width: int,
        *,
        out_channels: int | None = None,
        version: Literal["2023-05", "2023-11"] = "2023-05",
    ) -> CoordGate2d:
        """The encoder of the author's code, which has no activation between its three layers.

        Version "2023-05" has 64 hidden units and a raw gate, affine in the coordinates; "2023-11" has as many hidden
        units as channels and a ReLU on the gate.

        Raises:
            UsageError: no such version, or an argument is out of its range.
        """
        if version not in ("2023-05", "2023-11"):
            raise UsageError(f"CoordGate2d.affine: version must be '2023-05' or '2023-11', found {version!r}.")
        late = version == "2023-11"
        return cls(
            channels,
            height,
            width,
            out_channels=out_channels,
            hidden_width=channels if late else 64,
            depth=3,
            hidden_act="none",
            out_act="relu" if late else "none",
        )

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns, in pixels, of the images that it accepts."""
        return self.coordinates.shape[0], self.coordinates.shape[1]

    def resize(self, height: int, width: int) -> CoordGate2d:
        """Accept images of this size from now on; the weights stay and the coordinates still span -1 to 1.

        Raises:
            UsageError: the size is not positive.
        """
        self.coordinates = coordinate_grid(height, width).to(self.coordinates)
        return self

    def gate_map(self, coordinates: Tensor | None = None) -> Tensor:
        """The gate, (1, C, H, W), at its own coordinates or at (h, w, 2) given ones."""
        grid = self.coordinates if coordinates is None else coordinates.to(self.coordinates)
        return self.encoder(grid).permute(2, 0, 1).unsqueeze(0)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, coordinates: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H, W).

        Args:
            x: a whole image, or a tile of one.
            coordinates: (h, w, 2) of the pixels of a tile, see `tile_coordinates`.

        Raises:
            ModelError: the image, or the coordinates of the tile, have another size than expected.
        """
        expected = self.size if coordinates is None else (coordinates.shape[0], coordinates.shape[1])
        found = (x.shape[-2], x.shape[-1])
        if found != expected:
            raise ModelError(
                f"CoordGate2d is built for images of {expected[0]}x{expected[1]} pixels here, found "
                f"{found[0]}x{found[1]}.",
                "Build the model for this size (the weights fit every size), or give a tile's own coordinates.",
            )
        if torch.is_autocast_enabled(x.device.type):
            # Neighbouring coordinates of a 256-pixel image are the same number in bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                gate = self.gate_map(coordinates).to(x.dtype)
        else:
            gate = self.gate_map(coordinates)
        return self.project(x * gate)  # type: ignore[no-any-return]


def coordinate_grid(height: int, width: int) -> Tensor:
    """Coordinates (row, column) of each pixel, (height, width, 2), each from -1 to 1 with the end points."""
    rows = torch.linspace(-1, 1, _at_least_one("height", height))
    columns = torch.linspace(-1, 1, _at_least_one("width", width))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)


def tile_coordinates(full_size: tuple[int, int], top: int, left: int, height: int, width: int) -> Tensor:
    """The part of the whole image's `coordinate_grid` that a tile covers, (height, width, 2); sizes in pixels.

    Raises:
        UsageError: the tile is empty or leaves the image.
    """
    rows, columns = full_size
    if not (0 <= top < top + height <= rows and 0 <= left < left + width <= columns):
        raise UsageError(
            f"A tile of {height}x{width} pixels at row {top}, column {left} does not lie in an image of "
            f"{rows}x{columns}."
        )
    return coordinate_grid(rows, columns)[top : top + height, left : left + width]


def _encoder(widths: list[int], hidden_act: str, out_act: str) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    last = len(widths) - 1
    for number in range(1, last + 1):
        linear = layers[f"linear{number}"] = nn.Linear(widths[number - 1], widths[number])
        activation = out_act if number == last else hidden_act
        if activation != "none":
            layers[f"{activation}{number}"] = _ACTIVATIONS[activation]()
    nn.init.ones_(linear.bias)
    return nn.Sequential(layers)


def _at_least_one(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"CoordGate2d: {name} must be a positive integer, found {value!r}.")
    return value
