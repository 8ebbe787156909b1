"""Claims of "Separate your filters!" about two-dimensional filters."""

from __future__ import annotations

import numpy as np

from edgeconv.layers.separability import denoise_rank, energy_curve, make_filter, rank_for, separability
from edgeconv.reproduce.claims import HOLDS, IN_PART, NOT, Row, register, verdict

__all__: list[str] = []

_NOISES = 40


@register("separability", "Box and Gaussian separate, two terms make a DoG, fourteen a circle")
def separable() -> list[Row]:
    """Numerical ranks of 50 x 50 filters and what a few terms keep."""
    rows = []
    for name, stated in (("box", 1), ("gauss", 1), ("dog", 2), ("circle", 14), ("hexagon", 14)):
        rank = separability(make_filter(name)).rank
        rows.append(Row("terms needed", name, str(stated), str(rank), verdict(rank == stated)))
    ratio = 1 / separability(make_filter("dog")).ratio
    rows.append(Row("second term about 4x smaller", "dog", "4", f"{ratio:.2f}", verdict(round(ratio) == 4)))
    for name in ("hexagon", "circle"):
        kernel = make_filter(name)
        sigma, energy = rank_for(kernel, 0.75, "sigma"), rank_for(kernel, 0.75, "energy")
        found = f"{sigma} of the sum of singular values, {energy} of their energy"
        rows.append(Row("75 % with 3-4 terms", name, "3-4", found, verdict(3 <= sigma <= 4)))
    kept = energy_curve(make_filter("exponential"), "sigma")[2]
    rows.append(Row("close with 2-3 terms", "exponential", "-", f"{kept:.1%} at 3", verdict(kept > 0.99)))
    return rows


@register("denoising", "Truncating the decomposition of a noisy circle is best at 12-13 terms")
def denoising() -> list[Row]:
    """The best rank over many noises, for the noise levels around the unstated one."""
    circle = make_filter("circle")
    rows = []
    for level in (0.05, 0.10, 0.11, 0.12, 0.15, 0.20):
        rng = np.random.default_rng(0)
        ranks = [denoise_rank(circle + level * rng.standard_normal(circle.shape), circle) for _ in range(_NOISES)]
        mode = max(sorted(set(ranks)), key=ranks.count)
        near = HOLDS if mode in (12, 13) else IN_PART if 10 <= mode <= 15 else NOT
        rows.append(Row("best with 12-13 terms", f"noise {level:.2f}", "12-13", f"{mode}", near))
    return rows
