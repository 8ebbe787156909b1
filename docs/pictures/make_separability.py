"""Make the pictures of docs/separability.md: ``python docs/pictures/make_separability.py``."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from PIL import Image

from edgeconv.layers.separability import (
    apply,
    energy_curve,
    filter_names,
    low_rank,
    make_filter,
    reconstruct,
    separability,
)
from edgeconv.training.tasks.photographs import photograph_file

mpl.use("Agg")
import matplotlib.pyplot as plt
from pages import save

RANKS = (1, 2, 4, 8)
SIZE = 37  # pixels across the aperture; odd, so that it has a centre


def main() -> None:
    """Write all pictures."""
    filters()
    curves()
    bokeh()
    denoised()


def filters() -> None:
    """Each filter beside its best sums of 1, 2, 4 and 8 separable ones."""
    names = filter_names()
    figure, axes = plt.subplots(len(names), 1 + len(RANKS), figsize=(7.5, 1.55 * len(names)))
    for index, (row, name) in enumerate(zip(axes, names, strict=True)):
        kernel = make_filter(name)
        views = [("filter", kernel)] + [
            (f"{r} term{'s' if r > 1 else ''}", reconstruct(*low_rank(kernel, r))) for r in RANKS
        ]
        for axis, (title, view) in zip(row, views, strict=True):
            axis.imshow(view, cmap="gray", vmin=kernel.min(), vmax=kernel.max())
            axis.set_xticks([])
            axis.set_yticks([])
            if index == 0:
                axis.set_title(title, fontsize=9)
        row[0].set_ylabel(f"{name}\nrank {separability(kernel).rank}", fontsize=9)
    save(figure, "filters.png")


def curves() -> None:
    """What the first terms keep, by both measures."""
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.8), sharey=True)
    for axis, mode in zip(axes, ("sigma", "energy"), strict=True):
        for name in filter_names():
            curve = energy_curve(make_filter(name), mode)[:16]
            axis.plot(range(1, len(curve) + 1), curve, marker=".", label=name)
        axis.set_xlabel("terms")
        axis.set_title("share of the singular values" if mode == "sigma" else "share of their squares", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    save(figure, "separability-curves.png")


def bokeh() -> None:
    """A photograph out of focus through a round aperture of 1, 2, 4 and 8 terms."""
    with Image.open(photograph_file("rocket.jpg")) as image:
        pixels = np.asarray(image.convert("RGB").crop((150, 270, 470, 427)), np.float64) / 255
    light = pixels**2.2
    light += 40 * np.maximum(light - 0.8, 0)  # highlights were clipped by the camera; lamps are brighter than paper
    kernel = make_filter("circle", SIZE)
    views = [("photograph", pixels)]
    for rank in (*RANKS, separability(kernel).rank):
        blurred = apply(light, *low_rank(kernel, rank), renormalise=True)
        views.append((f"{rank} term{'s' if rank > 1 else ''}", np.clip(blurred, 0, 1) ** (1 / 2.2)))
    figure, axes = plt.subplots(2, 3, figsize=(9, 3.6))
    for axis, (title, view) in zip(axes.flat, views, strict=True):
        axis.imshow(view)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    save(figure, "bokeh.png")


def denoised() -> None:
    """A noisy circle and its best truncation."""
    circle = make_filter("circle")
    noisy = circle + 0.12 * np.random.default_rng(0).standard_normal(circle.shape)
    errors = [np.linalg.norm(reconstruct(*low_rank(noisy, r)) - circle) for r in range(1, 31)]
    best = int(np.argmin(errors)) + 1
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.5))
    for axis, title, view in (
        (axes[0], "noise 0.12", noisy),
        (axes[1], f"{best} terms", reconstruct(*low_rank(noisy, best))),
    ):
        axis.imshow(view, cmap="gray", vmin=-0.2, vmax=1.2)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    axes[2].plot(range(1, 31), errors, marker=".")
    axes[2].axvline(best, color="tab:orange")
    axes[2].set_title("distance to the clean circle", fontsize=9)
    axes[2].set_xlabel("terms")
    axes[2].grid(alpha=0.3)
    save(figure, "denoised.png")


if __name__ == "__main__":
    main()
