"""Layers: factored convolutions, the loss that keeps their spectra flat, and coordinate gates."""

from __future__ import annotations

from edgeconv.layers.coordgate import CoordGate2d, coordinate_grid, tile_coordinates
from edgeconv.layers.sfconv import SFConv2d, fold_kernel, rank_from_scale, unfold_kernel
from edgeconv.layers.sve import spectrum_kl, sve_loss

__all__ = [
    "CoordGate2d",
    "SFConv2d",
    "coordinate_grid",
    "fold_kernel",
    "rank_from_scale",
    "spectrum_kl",
    "sve_loss",
    "tile_coordinates",
    "unfold_kernel",
]
