"""Drift layer by layer: how far each operator's output is from the Q/DQ reference, in the order of the network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from edgeconv.benchmarks.report.rows import WIDTH
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg, quiet_axes
from edgeconv.records import LayerDrift

__all__ = ["layers_plot", "worst_layers"]

_HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 190.0, 34.0, 8.0, 16.0, 32.0


def worst_layers(layers: Sequence[LayerDrift], count: int) -> list[tuple[int, LayerDrift]]:
    """The layers that lose most by themselves, worst first, with their place in the network from 1.

    Where no layer was measured alone, those where the running network loses most to the layer before.
    """
    numbered = [(number, layer) for number, layer in enumerate(layers, start=1) if _finite(layer.alone_db)]
    if numbered:
        return sorted(numbered, key=lambda pair: pair[1].alone_db or 0.0)[:count]
    falls = [
        (_height(before.cumulative_db) - _height(layer.cumulative_db), number, layer)
        for number, (before, layer) in enumerate(itertools.pairwise(layers), start=2)
    ]
    worst = sorted((fall for fall in falls if fall[0] > 0), key=lambda fall: -fall[0])
    return [(number, layer) for _, number, layer in worst[:count]]


def layers_plot(layers: Sequence[LayerDrift], token: str, identifier: str) -> str:
    """Cumulative SQNR as a line, that of each layer alone as dots; the worst ones carry their numbers."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with drawing():
        figure = Figure(figsize=(WIDTH / 72, _HEIGHT / 72))
        width, height = 1 - (_LEFT + _RIGHT) / WIDTH, 1 - (_FOOT + _TOP) / _HEIGHT
        axes = figure.add_axes((_LEFT / WIDTH, _FOOT / _HEIGHT, width, height))
        numbers = list(range(1, len(layers) + 1))
        known = [value for layer in layers for value in (layer.alone_db, layer.cumulative_db) if _finite(value)]
        top = max([*(value or 0.0 for value in known), 1.0]) * 1.08  # where identical outputs are drawn
        running = [min(_height(layer.cumulative_db), top) for layer in layers]
        alone = [(n, min(_height(layer.alone_db), top)) for n, layer in zip(numbers, layers, strict=True)]
        axes.plot(numbers, running, color=colour(token), linewidth=1.4, solid_joinstyle="round")
        if any(_finite(layer.alone_db) for layer in layers):
            axes.plot(*zip(*alone, strict=True), "o", markersize=2.6, color=colour("ink"), alpha=0.75)
        for number, layer in worst_layers(layers, 3):
            value = layer.alone_db if _finite(layer.alone_db) else layer.cumulative_db
            axes.annotate(
                str(number),
                (number, min(_height(value), top)),
                xytext=(0, -11),
                textcoords="offset points",
                ha="center",
                color=colour("warn"),
            )
        quiet_axes(axes)
        axes.set_xlim(0.5, len(layers) + 0.5)
        axes.set_ylim(min([0.0, *(value or 0.0 for value in known)]), top * 1.04)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("operator, in the order of the network", color=colour("muted"))
        axes.text(0, 1.03, "SQNR, dB", transform=axes.transAxes, ha="left", va="bottom", color=colour("muted"))
        return inline_svg(figure, identifier, "SQNR of each operator's output against the reference")


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _height(value: float | None) -> float:
    return math.inf if value is None else value
