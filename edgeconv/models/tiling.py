"""Inference tile by tile for images that are too large for memory, with each gate at the tile's place in the image.

A CoordGate gives a pixel the value of its position in the whole image; a tile that is run as if it were an image of its
own gets the wrong gates.  Here every gate of the network gets the coordinates of the tile at its own level.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.coordgate import CoordGate2d

__all__ = ["run_tiled"]


def run_tiled(model: nn.Module, image: Tensor, tile: int, halo: int, *, alignment: int = 1) -> Tensor:
    """The model's output for the whole image, computed in tiles.

    Exact where `halo` is at least the radius of the network's receptive field: a tile is run with that much of its
    surroundings, and only its own part of the output is kept.

    Args:
        model: from (N, C, H, W) to (N, C', H, W), built for images of this size, in evaluation mode.
        image: the whole image.
        tile: side of a tile in pixels, a multiple of `alignment`.
        halo: pixels around it, a multiple of `alignment`.
        alignment: the product of the network's strides, 2 ** (levels - 1) for a U-Net.

    Raises:
        UsageError: sizes are out of their range or no multiples of `alignment`.
        ModelError: a gate's size is not the image's divided by a whole number, or the output has another size.
    """
    rows, columns = image.shape[-2:]
    if tile < 1 or halo < 0 or alignment < 1:
        raise UsageError(f"A tile of {tile} with a halo of {halo}, aligned to {alignment}, makes no sense.")
    if any(size % alignment for size in (tile, halo, rows, columns)):
        raise UsageError(
            f"The tile ({tile}), the halo ({halo}) and the image ({rows}x{columns}) must be multiples of {alignment}.",
            "Pad the image, or choose other sizes.",
        )
    gates = _gates(model, rows, columns)
    result: Tensor | None = None
    for top in range(0, rows, tile):
        for left in range(0, columns, tile):
            bottom, right = min(top + tile, rows), min(left + tile, columns)
            box = max(top - halo, 0), max(left - halo, 0), min(bottom + halo, rows), min(right + halo, columns)
            with _at(gates, box):
                part = model(image[..., box[0] : box[2], box[1] : box[3]])
            if part.shape[-2:] != (box[2] - box[0], box[3] - box[1]):
                raise ModelError("The model changes the size of its input; it cannot be run in tiles.")
            if result is None:
                result = part.new_empty((*part.shape[:-2], rows, columns))
            result[..., top:bottom, left:right] = part[
                ..., top - box[0] : bottom - box[0], left - box[1] : right - box[1]
            ]
    if result is None:
        raise UsageError("The image has no pixels.")
    return result


def _gates(model: nn.Module, rows: int, columns: int) -> list[tuple[CoordGate2d, Tensor, int]]:
    """Each gate with the coordinates of the whole image and its stride."""
    found = []
    for module in model.modules():
        if isinstance(module, CoordGate2d):
            height, width = module.size
            stride = rows // height
            if (height * stride, width * stride) != (rows, columns):
                raise ModelError(
                    f"A gate is built for {height}x{width}, which does not divide the image's {rows}x{columns}.",
                    "Build the model for the size of the whole image.",
                )
            found.append((module, module.coordinates, stride))
    return found


@contextlib.contextmanager
def _at(gates: list[tuple[CoordGate2d, Tensor, int]], box: tuple[int, int, int, int]) -> Iterator[None]:
    """The gates see only the part of the image in `box` (top, left, bottom, right)."""
    top, left, bottom, right = box
    try:
        for gate, whole, stride in gates:
            gate.coordinates = whole[top // stride : bottom // stride, left // stride : right // stride]
        with torch.inference_mode():
            yield
    finally:
        for gate, whole, _ in gates:
            gate.coordinates = whole
