"""Drift layer by layer as a drawing: who makes the output's error, and how it builds up through the network."""

from __future__ import annotations

import math
from typing import Any

from edgeconv.benchmarks.report.rows import WIDTH
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg
from edgeconv.parity.drift.record import DriftReport, Parts

__all__ = ["drift_plot"]

_HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT, _GAP = 300.0, 34.0, 8.0, 30.0, 32.0, 34.0
_NAMED = 3  # layers that carry their number
_PARTS = (("weights", "series-2"), ("activations", "series-1"))
_LINES = ("series-3", "series-4", "series-5", "accent")


def drift_plot(report: DriftReport, identifier: str) -> str:
    """Above, each layer's share of the output's error; below, the SQNR of its output in the running int8 network."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(WIDTH / 72, _HEIGHT / 72))
        height = (_HEIGHT - _TOP - _FOOT - _GAP) / 2
        width = (WIDTH - _LEFT - _RIGHT) / WIDTH
        shares, running = (
            figure.add_axes((_LEFT / WIDTH, bottom / _HEIGHT, width, height / _HEIGHT))
            for bottom in (_FOOT + height + _GAP, _FOOT)
        )
        _shares(shares, report)
        _running(running, report)
        for axes in (shares, running):
            _plain(axes, len(report.layers))
        shares.tick_params(labelbottom=False)
        running.set_xlabel("layer, in the order of the network", color=colour("muted"))
        return inline_svg(figure, identifier, "Share of the output's error and running SQNR of each layer")


def _shares(axes: Any, report: DriftReport) -> None:
    numbers = [layer.number for layer in report.layers]
    bottom = [0.0] * len(numbers)
    for (part, token), place in zip(_PARTS, (0.5, 0.72), strict=True):
        heights = [100 * layer.share * _fraction(layer.at_output, part) for layer in report.layers]
        axes.bar(numbers, heights, 0.8, bottom, color=colour(token), linewidth=0)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
        axes.text(place, 1.06, part, transform=axes.transAxes, color=colour(token), va="bottom")
    for layer in report.ranked[:_NAMED]:
        at = (layer.number, 100 * layer.share)
        axes.annotate(str(layer.number), at, (0, 2), textcoords="offset points", ha="center", color=colour("warn"))
    axes.set_ylim(0, max([100 * layer.share for layer in report.layers] + [1.0]) * 1.15)
    axes.text(0, 1.06, "share of the error, %", transform=axes.transAxes, va="bottom", color=colour("muted"))


def _running(axes: Any, report: DriftReport) -> None:
    runtimes = [entry.runtime for entry in report.layers[0].on_target]
    lines = [("Q/DQ", "ink", [(layer.number, layer.cumulative_db) for layer in report.layers if layer.is_int8])]
    for index, runtime in enumerate(runtimes):
        seen = [(layer.number, layer.on_target[index]) for layer in report.layers]
        points = [(number, entry.cumulative_db) for number, entry in seen if entry.read]
        lines.append((runtime, _LINES[index % len(_LINES)], points))
    known = [db for _, _, points in lines for _, db in points if db is not None]
    top = max([*known, 1.0]) * 1.08  # where there is no difference
    for place, (name, token, points) in enumerate(lines):
        if points:
            heights = [top if db is None else db for _, db in points]
            axes.plot([number for number, _ in points], heights, color=colour(token), linewidth=1.3 if place else 2.2)
        across = 0.24 + 0.76 * place / max(len(lines), 1)
        axes.text(across, 1.06, name, transform=axes.transAxes, color=colour(token), va="bottom")
    axes.set_ylim(min([0.0, *known]), top * 1.04)
    axes.text(0, 1.06, "running, dB", transform=axes.transAxes, va="bottom", color=colour("muted"))


def _plain(axes: Any, count: int) -> None:
    from matplotlib.ticker import MaxNLocator

    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(color=colour("line"), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(0.5, count + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(length=0, labelcolor=colour("muted"), pad=5)


def _fraction(parts: Parts, part: str) -> float:
    """How much of a layer's noise at the output is that of its weights, or of its activations."""
    noise = {"weights": _noise(parts.weights_db), "activations": _noise(parts.activations_db)}
    return noise[part] / (sum(noise.values()) or 1.0)


def _noise(db: float | None) -> float:
    return 0.0 if db is None else math.pow(10, -db / 10)
