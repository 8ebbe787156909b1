"""Plots with one row for each artefact: latency samples, memory, latency in the order of the run.

All lengths are points of a 360 pt wide drawing, narrow enough to stay readable on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.report.series import Series
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg
from edgeconv.benchmarks.report.units import megabytes, milliseconds
from edgeconv.records import Memory

__all__ = ["MAX_POINTS", "WIDTH", "latency_plot", "memory_plot", "time_axis", "timeline_plot"]

WIDTH = 360.0
MAX_POINTS = 400  # drawn for one artefact; the record keeps every sample
_ROW, _TITLE, _FOOT, _SIDE = 38.0, 12.0, 34.0, 6.0
_LOG_RANGE = 8.0  # a linear axis shows ranges up to this ratio

_Floats = npt.NDArray[np.float64]


def latency_plot(series: Sequence[Series], identifier: str) -> str:
    """Every sample as a dot, the median as a bar, p90 as a tick; at most `MAX_POINTS` order statistics a row."""
    with drawing():
        figure, axes = _rows(series, [_median_text(s) for s in series])
        drawn = [_order_statistics(_in_ms(s)) for s in series]
        pooled = np.concatenate(drawn) if drawn else np.zeros(0)
        time_axis(axes.set_xscale, axes.set_xlim, axes.xaxis, pooled)
        axes.set_xlabel("latency, ms")
        for row, (s, values) in enumerate(zip(series, drawn, strict=True)):
            top = row * _ROW + _TITLE + 4
            _dots(axes, values, top + 1 + 12 * _jitter(len(values)), _tone(s))
            if s.result.latency_ns.p50 is not None:
                _bar(axes, s.result.latency_ns.p50 / 1e6, top - 1, 16, "ink" if s.result.valid else "muted", 1.8)
            if s.result.latency_ns.p90 is not None:
                _bar(axes, s.result.latency_ns.p90 / 1e6, top + 3, 8, "ink" if s.result.valid else "muted", 0.9)
        return inline_svg(figure, identifier, "Latency samples of each artefact")


def memory_plot(series: Sequence[Series], identifier: str) -> str:
    """Baseline and, on top of it, what the model added up to the peak."""
    with drawing():
        figure, axes = _rows(series, [_memory_text(s.result.memory, s.result.valid) for s in series])
        peaks = [(s.result.memory.peak_rss_bytes or 0) / 1e6 for s in series]
        axes.set_xlim(0, max([*peaks, 1.0]) * 1.02)
        axes.set_xlabel("resident memory, MB")
        for row, (s, peak) in enumerate(zip(series, peaks, strict=True)):
            if s.result.memory.peak_rss_bytes is None:
                continue
            top = row * _ROW + _TITLE + 5
            base = (s.result.memory.baseline_rss_bytes or 0) / 1e6
            axes.barh(top + 5, base, 10, color=colour("line"), linewidth=0)
            hollow = not s.result.valid
            axes.barh(
                top + 5,
                max(peak - base, 0),
                9.2 if hollow else 10,
                left=base,
                color="none" if hollow else colour(s.colour),
                edgecolor=colour("muted"),
                linewidth=0.8 if hollow else 0,
            )
        return inline_svg(figure, identifier, "Baseline and peak memory of each artefact")


def timeline_plot(series: Sequence[Series], identifier: str) -> str:
    """Latency over its own median, first to last timed inference; the band of a row is ×0.5 to ×2, clipped there."""
    with drawing():
        figure, axes = _rows(series, [f"n = {len(s.result.latency_ns.samples)}" for s in series])
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 1], ["first", "last"])
        axes.xaxis.get_ticklabels()[0].set_horizontalalignment("left")
        axes.xaxis.get_ticklabels()[1].set_horizontalalignment("right")
        axes.set_xlabel("timed inferences, in order")
        for row, s in enumerate(series):
            middle = row * _ROW + _TITLE + 12
            samples = _in_ms(s)
            axes.plot([0, 1], [middle, middle], color=colour("line"), linewidth=0.8)
            if not len(samples):
                continue
            ratio = samples / max(float(np.median(samples)), 1e-9)
            position, kept = _envelope(ratio)
            heights = middle - 10 * np.log2(np.clip(kept, 0.5, 2.0))
            axes.plot(position, heights, color=colour(_tone(s)), linewidth=0.9)
            _dots(axes, position[kept > 2.0], heights[kept > 2.0], "warn")
        return inline_svg(figure, identifier, "Latency of each artefact over the run, relative to its median")


def time_axis(set_scale: Any, set_limits: Any, axis: Any, values_ms: _Floats) -> None:
    """Ticks and limits: from zero, or logarithmic where the range is wider than a linear axis can show."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    low, high = (float(values_ms.min()), float(values_ms.max())) if len(values_ms) else (0.0, 1.0)
    axis.set_minor_locator(NullLocator())
    if low > 0 and high / low > _LOG_RANGE:
        set_scale("log")
        set_limits(low / 1.15, high * 1.15)
        decades = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
        steps = (1, 2, 5) if high / low < 300 else (1,)
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        axis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.15 <= tick <= high * 1.15]))
        axis.set_minor_locator(NullLocator())
    else:
        set_limits(0, (high or 1.0) * 1.04)
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.10g}"))


def _rows(series: Sequence[Series], values: Sequence[str]) -> tuple[Any, Any]:
    """A figure whose y axis counts points downwards; each row has its artefact's name and a value above the marks."""
    from matplotlib.figure import Figure

    body = max(len(series), 1) * _ROW
    height = body + _FOOT
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_axes((_SIDE / WIDTH, _FOOT / height, 1 - 2 * _SIDE / WIDTH, body / height))
    axes.set_ylim(body, 0)
    axes.yaxis.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(axis="x", length=0, labelcolor=colour("muted"), pad=5)
    axes.xaxis.label.set_color(colour("muted"))
    axes.grid(axis="x", color=colour("line"), linewidth=0.6)
    axes.set_axisbelow(True)
    for row, (s, value) in enumerate(zip(series, values, strict=True)):
        across = axes.get_yaxis_transform()
        y = row * _ROW + _TITLE - 2
        axes.text(0, y, s.label[:40], transform=across, color=colour("ink"))
        mark = value if s.result.valid else f"{value}, invalid".removeprefix(", ")
        axes.text(1, y, mark, transform=across, ha="right", color=colour("ink" if s.result.valid else "warn"))
    return figure, axes


def _tone(s: Series) -> str:
    return s.colour if s.result.valid else "muted"


def _median_text(s: Series) -> str:
    p50 = s.result.latency_ns.p50
    return f"{milliseconds(p50)} ms" if p50 is not None and s.result.valid else ""


def _memory_text(memory: Memory, valid: bool) -> str:
    if memory.peak_rss_bytes is None or memory.baseline_rss_bytes is None or not valid:
        return ""
    return f"+{megabytes(memory.peak_rss_bytes - memory.baseline_rss_bytes)} MB"


def _in_ms(s: Series) -> _Floats:
    return np.asarray(s.result.latency_ns.samples, dtype=np.float64) / 1e6


def _order_statistics(values: _Floats) -> _Floats:
    """`values` sorted; of more than `MAX_POINTS`, evenly spaced ranks with the smallest and the largest among them."""
    ordered: _Floats = np.sort(values)
    if len(ordered) <= MAX_POINTS:
        return ordered
    ranks = np.linspace(0, len(ordered) - 1, MAX_POINTS).round().astype(int)
    kept: _Floats = ordered[ranks]
    return kept


def _jitter(count: int) -> _Floats:
    """`count` numbers in 0…1, evenly spread and without randomness (multiples of the golden ratio)."""
    spread: _Floats = np.modf(np.arange(count, dtype=np.float64) * 0.6180339887)[0]
    return spread


def _envelope(values: _Floats) -> tuple[_Floats, _Floats]:
    """Positions in 0…1 and values; of many, each stretch's smallest and largest, so that no spike is lost."""
    count = len(values)
    chosen = np.arange(count)
    if count > MAX_POINTS:
        parts = np.array_split(chosen, MAX_POINTS // 2)
        chosen = np.unique([part[pick(values[part])] for part in parts for pick in (np.argmin, np.argmax)])
    return chosen / max(count - 1, 1), values[chosen]


def _dots(axes: Any, x: _Floats, y: _Floats, token: str) -> None:
    """Dots as the round ends of strokes without length: one path, a tenth of the bytes of as many markers."""
    gap = np.full(len(x), np.nan)
    axes.plot(
        np.column_stack([x, x, gap]).ravel(),
        np.column_stack([y, y, gap]).ravel(),
        color=colour(token),
        linewidth=2.6,
        alpha=0.55,
        solid_capstyle="round",
    )


def _bar(axes: Any, x: float, top: float, height: float, token: str, width: float) -> None:
    axes.plot([x, x], [top, top + height], color=colour(token), linewidth=width, solid_capstyle="butt")
