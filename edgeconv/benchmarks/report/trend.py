"""The trend of one figure as a drawing (.svg) or a page (.html) that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv.benchmarks.report.html import page_environment
from edgeconv.benchmarks.report.rows import WIDTH
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg, quiet_axes, standalone
from edgeconv.benchmarks.store.index import StoredRun
from edgeconv.benchmarks.store.trend import Figure, Trend, changes_of, trends_of
from edgeconv.errors import UsageError
from edgeconv.files import atomic_write_bytes

__all__ = ["trend_page", "trend_plot", "write_trend"]

_HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 236.0, 40.0, 10.0, 24.0, 34.0
_LEGEND = 14.0  # height of a line of it
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))  # one a precision, so that colour is not all that tells lines apart


def write_trend(runs: Sequence[StoredRun], figure: Figure, path: Path) -> None:
    """Write the trend of one model's runs to `path`, whole or not at all; its suffix says how.

    Raises:
        UsageError: a suffix other than .html and .svg, a drawing of several machines, or no run has the figure.
        RecordError: the runs are of different models.
    """
    trends = trends_of(runs, figure)
    if not trends:
        raise UsageError(f"None of the runs has a {figure.title}.", "Choose another --figure.")
    if path.suffix == ".html":
        text = trend_page(runs, figure)
    elif path.suffix == ".svg":
        places = _by_place(trends)
        if len(places) > 1:
            there = ", ".join(f"{device} on {machine}, {kind}" for device, machine, kind in places)
            raise UsageError(f"A drawing is of one machine; these are several: {there}.", "Use --device, or .html.")
        page_environment()  # tells what is not installed
        text = standalone(trend_plot(trends, figure, "trend"))
    else:
        raise UsageError(f"{path} has the suffix {path.suffix or 'none'!r}.", "Use .html or .svg.")
    atomic_write_bytes(path, text.encode("utf-8"))


def trend_page(runs: Sequence[StoredRun], figure: Figure) -> str:
    """A page with one plot for each machine and kind of clock."""
    environment = page_environment()
    places = _by_place(trends_of(runs, figure))
    plots = [
        (place, group, changes_of(group), trend_plot(group, figure, f"trend-{number}"))
        for number, (place, group) in enumerate(places.items(), start=1)
    ]
    return environment.get_template("trend.html.j2").render(model=runs[0].model, figure=figure, plots=plots)


def trend_plot(trends: Sequence[Trend], figure: Figure, identifier: str) -> str:
    """The trends of one machine over time: a line through the valid runs, bars for intervals, hollow: not valid."""
    from matplotlib.figure import Figure as Drawing

    with drawing():
        height = _HEIGHT + _LEGEND * ((len(trends) + 1) // 2)
        drawn = Drawing(figsize=(WIDTH / 72, height / 72))
        bottom = (_FOOT + height - _HEIGHT) / height
        axes = drawn.add_axes(
            (_LEFT / WIDTH, bottom, 1 - (_LEFT + _RIGHT) / WIDTH, 1 - bottom - _TOP / height),
        )
        precisions = list(dict.fromkeys(trend.precision for trend in trends))
        runtimes = sorted({trend.runtime for trend in trends})
        handles = [_line(axes, t, runtimes.index(t.runtime), precisions.index(t.precision)) for t in trends]
        _style(axes, figure, trends)
        drawn.legend(
            handles,
            [trend.label[:34] for trend in trends],
            loc="lower left",
            bbox_to_anchor=(_LEFT / WIDTH - 0.02, 0.0),
            ncols=2,
            frameon=False,
            labelcolor=colour("ink"),
            handlelength=2.4,
            borderaxespad=0.0,
        )
        return inline_svg(drawn, identifier, f"{figure.title} of each run, by time")


def _line(axes: Any, trend: Trend, runtime: int, precision: int) -> Any:
    token = f"series-{runtime % 5 + 1}"
    (line,) = axes.plot(
        [point.moment for point in trend.valid],
        [point.value for point in trend.valid],
        color=colour(token),
        linestyle=_DASHES[precision % len(_DASHES)],
        linewidth=1.3,
        marker="o",
        markersize=4,
    )
    for point in trend.points:
        if point.interval is not None and point.valid:
            axes.plot([point.moment] * 2, point.interval, color=colour(token), linewidth=3, alpha=0.35)
        if not point.valid:
            axes.plot(
                [point.moment],
                [point.value],
                marker="o",
                markersize=4,
                color=colour("surface"),
                markeredgecolor=colour("muted"),
            )
        if point.changes:
            axes.axvline(point.moment, color=colour("muted"), linewidth=0.6, linestyle=(0, (2, 3)))
    return line


def _style(axes: Any, figure: Figure, trends: Sequence[Trend]) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # without types
    locator = dates.AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    values = [point.value for trend in trends for point in trend.points]
    margin = max(0.08 * max(map(abs, values)), 1e-9)
    axes.set_ylim(min(0.0, *values), max(values) + margin)
    quiet_axes(axes)
    axes.xaxis.get_offset_text().set_color(colour("muted"))
    title = f"{figure.title}, {figure.unit}"
    axes.text(0, 1.04, title, transform=axes.transAxes, ha="left", va="bottom", color=colour("muted"))
    kind = trends[0].kind  # the same for all: trends of one machine
    if kind != "measured":
        warning = kind.upper()
        axes.text(1, 1.04, warning, transform=axes.transAxes, ha="right", va="bottom", color=colour("warn"))


def _by_place(trends: Sequence[Trend]) -> dict[tuple[str, str, str], list[Trend]]:
    found: dict[tuple[str, str, str], list[Trend]] = {}
    for trend in trends:
        found.setdefault((trend.device, trend.machine, trend.kind), []).append(trend)
    return found
