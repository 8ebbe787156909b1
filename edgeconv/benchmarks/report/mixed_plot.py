"""Mixed precision: SQNR against latency from the int8 graph on, rescue by rescue, a line for each runtime."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from edgeconv.benchmarks.report.rows import WIDTH, time_axis
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg, quiet_axes
from edgeconv.benchmarks.report.tradeoff import pareto_front
from edgeconv.benchmarks.report.units import decibels, megabytes, milliseconds
from edgeconv.bundles import Bundle
from edgeconv.export.mixed.report import MixedReport, Price, read_mixed

__all__ = ["MixedRow", "MixedView", "mixed_plot", "mixed_view"]

_HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 240.0, 34.0, 10.0, 16.0, 34.0
_COLOURS = 5


@dataclasses.dataclass(frozen=True)
class MixedRow:
    """A graph on the way: number in the figure, what is left in float beyond the one before, a cell by runtime."""

    number: int
    name: str
    operators: str
    worst_db: str
    prices: list[str]
    bytes: list[str]


@dataclasses.dataclass(frozen=True)
class MixedView:
    """What the page shows of a bundle's `mixed.json`; `svg` is empty where nothing was priced."""

    bundle: str
    report: MixedReport
    runtimes: list[str]
    colours: list[str]
    rows: list[MixedRow]
    svg: str


def mixed_view(bundle: Bundle, identifier: str) -> MixedView | None:
    """None where nothing was asked of the bundle's quality.

    Raises:
        BundleError: `mixed.json` cannot be read.
    """
    report = read_mixed(bundle.directory)
    if report is None:
        return None
    runtimes = [price.runtime for price in report.int8_prices]
    rows = [_row(0, "int8", "", report.int8.worst_db, report.int8_prices, runtimes)]
    for number, rescue in enumerate(report.rescues, start=1):
        operators = ", ".join(rescue.operators)
        rows.append(_row(number, rescue.name, operators, rescue.quality.worst_db, rescue.prices, runtimes))
    colours = [f"series-{index % _COLOURS + 1}" for index in range(len(runtimes))]
    return MixedView(bundle.manifest.name, report, runtimes, colours, rows, mixed_plot(report, identifier))


def mixed_plot(report: MixedReport, identifier: str) -> str:
    """Latency to the right, SQNR of what the runtime returned upwards; graphs that no other of the runtime beats in
    both are ringed. An empty string where nothing was priced."""
    runtimes = [price.runtime for price in report.int8_prices]
    curves = {runtime: report.curve(runtime) for runtime in runtimes}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(WIDTH / 72, _HEIGHT / 72))
        width, height = 1 - (_LEFT + _RIGHT) / WIDTH, 1 - (_FOOT + _TOP) / _HEIGHT
        axes = figure.add_axes((_LEFT / WIDTH, _FOOT / _HEIGHT, width, height))
        time_axis(axes.set_xscale, axes.set_xlim, axes.xaxis, np.array([ms for ms, _, _ in points]))
        for index, curve in enumerate(curves.values()):
            tone = colour(f"series-{index % _COLOURS + 1}")
            front = pareto_front([(ms, db) for ms, db, _ in curve])
            axes.plot([ms for ms, _, _ in curve], [db for _, db, _ in curve], color=tone, linewidth=1.2)
            for place, (ms, db, number) in enumerate(curve):
                ringed = place in front
                axes.plot(
                    [ms],
                    [db],
                    marker="o",
                    markersize=8 if ringed else 5,
                    color=tone,
                    markeredgecolor=colour("ink"),
                    markeredgewidth=0.9 if ringed else 0,
                    clip_on=False,
                )
                axes.annotate(
                    str(number),
                    (ms, db),
                    xytext=(0, 7),
                    textcoords="offset points",
                    ha="center",
                    color=colour("ink"),
                )
        heights = [db for _, db, _ in points]
        margin = max(2.0, 0.15 * (max(heights) - min(heights)))
        axes.set_ylim(min(heights) - margin, max(heights) + margin)
        quiet_axes(axes)
        axes.set_xlabel("median latency, ms", color=colour("muted"))
        axes.text(0, 1.02, "SQNR, dB", transform=axes.transAxes, ha="left", va="bottom", color=colour("muted"))
        return inline_svg(figure, identifier, "SQNR against latency with ever more operators in float")


def _row(
    number: int, name: str, operators: str, worst_db: float | None, prices: Sequence[Price], runtimes: Sequence[str]
) -> MixedRow:
    found = {price.runtime: price for price in prices}
    cells = [found.get(runtime) for runtime in runtimes]
    latencies = [_latency(price) for price in cells]
    sizes = ["–" if price is None or not price.bytes else megabytes(price.bytes) for price in cells]
    worst = "exact" if worst_db is None or not math.isfinite(worst_db) else decibels(worst_db)
    return MixedRow(number, name, operators, worst, latencies, sizes)


def _latency(price: Price | None) -> str:
    return "–" if price is None or price.latency_ms is None else milliseconds(price.latency_ms * 1e6)
