"""Filters as sums of separable ones: how many terms it takes, what they cost, what they keep.

The same decomposition compresses kernels (`SFConv2d`) and coordinate gates; here it is for single two-dimensional
filters, after Bart Wronski's "Separate your filters! Separability, SVD and low-rank approximation of 2D image
processing filters" (2020).
"""

from edgeconv.layers.separability.decompose import (
    Separability,
    denoise_rank,
    energy_curve,
    is_separable,
    low_rank,
    rank_for,
    reconstruct,
    separability,
)
from edgeconv.layers.separability.filters import filter_names, make_filter
from edgeconv.layers.separability.image import Cost, apply, break_even_rank, cost
from edgeconv.layers.separability.maps import SeparableMaps, separate_maps

__all__ = [
    "Cost",
    "Separability",
    "SeparableMaps",
    "apply",
    "break_even_rank",
    "cost",
    "denoise_rank",
    "energy_curve",
    "filter_names",
    "is_separable",
    "low_rank",
    "make_filter",
    "rank_for",
    "reconstruct",
    "separability",
    "separate_maps",
]
