"""Plots with one row for each artefact: latency samples, memory, latency in the order of the run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from edgeconv.benchmarks.report.rows import ROW, TITLE, Floats, bar, dots, row_figure, time_axis, tone
from edgeconv.benchmarks.report.series import Series
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg
from edgeconv.benchmarks.report.units import megabytes, milliseconds
from edgeconv.records import Memory

__all__ = ["MAX_POINTS", "latency_plot", "memory_plot", "timeline_plot"]

MAX_POINTS = 400  # drawn for one artefact; the record keeps every sample


def latency_plot(series: Sequence[Series], identifier: str) -> str:
    """Every sample as a dot, the median as a bar, p90 as a tick, each over the band of its confidence interval.

    At most `MAX_POINTS` order statistics a row.  Where a tool kept no samples: a line from its least to its greatest
    and a diamond at its mean.
    """
    with drawing():
        figure, axes = row_figure(series, [_median_text(s) for s in series])
        drawn = [_order_statistics(_in_ms(s)) for s in series]
        told = [s.result.latency_ns.summary for s in series]
        ends = [np.array([one.min_ns, one.max_ns]) / 1e6 for one in told if one is not None]
        time_axis(axes.set_xscale, axes.set_xlim, axes.xaxis, np.concatenate([np.zeros(0), *drawn, *ends]))
        axes.set_xlabel("latency, ms")
        for row, (s, values, summary) in enumerate(zip(series, drawn, told, strict=True)):
            top, latency = row * ROW + TITLE + 4, s.result.latency_ns
            ink = "ink" if s.result.valid else "muted"
            for low, high in (
                latency.intervals[name] for name in ("p50", "p90") if len(latency.intervals.get(name, [])) == 2
            ):
                axes.barh(top + 17, (high - low) / 1e6, 3, left=low / 1e6, color=colour(ink), alpha=0.35, linewidth=0)
            dots(axes, values, top + 1 + 12 * _jitter(len(values)), tone(s))
            if latency.p50 is not None:
                bar(axes, latency.p50 / 1e6, top - 1, 19.5, ink, 1.8)
            if latency.p90 is not None:
                bar(axes, latency.p90 / 1e6, top + 3, 15.5, ink, 0.9)
            if summary is not None:
                axes.plot(
                    [summary.min_ns / 1e6, summary.max_ns / 1e6], [top + 7] * 2, color=colour(tone(s)), linewidth=2
                )
                axes.plot([summary.mean_ns / 1e6], [top + 7], marker="D", markersize=5, color=colour(ink))
        return inline_svg(figure, identifier, "Latency samples of each artefact")


def memory_plot(series: Sequence[Series], identifier: str) -> str:
    """Baseline, on top of it what loading the model took, on top of that what running it took beyond."""
    with drawing():
        figure, axes = row_figure(series, [_memory_text(s.result.memory, s.result.valid) for s in series])
        peaks = [(s.result.memory.peak_rss_bytes or 0) / 1e6 for s in series]
        axes.set_xlim(0, max([*peaks, 1.0]) * 1.02)
        axes.set_xlabel("resident memory, MB")
        for row, (s, peak) in enumerate(zip(series, peaks, strict=True)):
            memory = s.result.memory
            if memory.peak_rss_bytes is None:
                continue
            middle = row * ROW + TITLE + 10
            base = (memory.baseline_rss_bytes or 0) / 1e6
            load = peak if memory.load_peak_rss_bytes is None else memory.load_peak_rss_bytes / 1e6
            axes.barh(middle, base, 10, color=colour("line"), linewidth=0)
            for left, right, strength in ((base, load, 1.0), (max(load, base), peak, 0.45)):
                axes.barh(
                    middle,
                    max(right - left, 0),
                    10 if s.result.valid else 9.2,
                    left=left,
                    color=colour(s.colour) if s.result.valid else "none",
                    alpha=strength if s.result.valid else 1.0,
                    edgecolor=colour("muted"),
                    linewidth=0 if s.result.valid else 0.8,
                )
        return inline_svg(figure, identifier, "Baseline, load and peak memory of each artefact")


def timeline_plot(series: Sequence[Series], identifier: str) -> str:
    """Latency over its own median, first to last timed inference; the band of a row is ×0.5 to ×2, clipped there.

    An upright stroke is where a fresh process took over.
    """
    with drawing():
        figure, axes = row_figure(series, [_count_text(s) for s in series])
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 1], ["first", "last"])
        axes.xaxis.get_ticklabels()[0].set_horizontalalignment("left")
        axes.xaxis.get_ticklabels()[1].set_horizontalalignment("right")
        axes.set_xlabel("timed inferences, in order")
        for row, s in enumerate(series):
            middle = row * ROW + TITLE + 12
            samples = _in_ms(s)
            axes.plot([0, 1], [middle, middle], color=colour("line"), linewidth=0.8)
            if not len(samples):
                continue
            for begun in list(itertools.accumulate(s.result.latency_ns.rounds))[:-1]:
                bar(axes, (begun - 0.5) / max(len(samples) - 1, 1), middle - 11, 22, "muted", 0.7)
            ratio = samples / max(float(np.median(samples)), 1e-9)
            position, kept = _envelope(ratio)
            heights = middle - 10 * np.log2(np.clip(kept, 0.5, 2.0))
            axes.plot(position, heights, color=colour(tone(s)), linewidth=0.9)
            dots(axes, position[kept > 2.0], heights[kept > 2.0], "warn")
        return inline_svg(figure, identifier, "Latency of each artefact over the run, relative to its median")


def _median_text(s: Series) -> str:
    latency = s.result.latency_ns
    if not s.result.valid:
        return ""
    if latency.summary is not None:
        return f"mean {milliseconds(latency.summary.mean_ns)} ms"
    return f"{milliseconds(latency.p50)} ms" if latency.p50 is not None else ""


def _count_text(s: Series) -> str:
    latency = s.result.latency_ns
    if latency.summary is not None:
        return f"{latency.summary.count} inferences, no samples"
    rounds = f" in {len(latency.rounds)} processes" if len(latency.rounds) > 1 else ""
    return f"n = {len(latency.samples):,}{rounds}"


def _memory_text(memory: Memory, valid: bool) -> str:
    if memory.peak_rss_bytes is None or memory.baseline_rss_bytes is None or not valid:
        return ""
    return f"+{megabytes(memory.peak_rss_bytes - memory.baseline_rss_bytes)} MB"


def _in_ms(s: Series) -> Floats:
    return np.asarray(s.result.latency_ns.samples, dtype=np.float64) / 1e6


def _order_statistics(values: Floats) -> Floats:
    """`values` sorted; of more than `MAX_POINTS`, evenly spaced ranks with the smallest and the largest among them."""
    ordered: Floats = np.sort(values)
    if len(ordered) <= MAX_POINTS:
        return ordered
    ranks = np.linspace(0, len(ordered) - 1, MAX_POINTS).round().astype(int)
    kept: Floats = ordered[ranks]
    return kept


def _jitter(count: int) -> Floats:
    """`count` numbers in 0…1, evenly spread and without randomness (multiples of the golden ratio)."""
    spread: Floats = np.modf(np.arange(count, dtype=np.float64) * 0.6180339887)[0]
    return spread


def _envelope(values: Floats) -> tuple[Floats, Floats]:
    """Positions in 0…1 and values; of many, each stretch's smallest and largest, so that no spike is lost."""
    count = len(values)
    chosen = np.arange(count)
    if count > MAX_POINTS:
        parts = np.array_split(chosen, MAX_POINTS // 2)
        chosen = np.unique([part[pick(values[part])] for part in parts for pick in (np.argmin, np.argmax)])
    return chosen / max(count - 1, 1), values[chosen]
