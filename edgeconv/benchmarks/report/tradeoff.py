"""Latency against drift, with the artefacts that no other beats in both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from edgeconv.benchmarks.report.rows import WIDTH, time_axis
from edgeconv.benchmarks.report.series import Series
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg, quiet_axes

__all__ = ["pareto_front", "tradeoff_plot"]

_HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 270.0, 34.0, 10.0, 12.0, 34.0
_LETTER, _LINE = 5.0, 12.0  # points: mean width of a letter, distance of two lines of text


class _Point(NamedTuple):
    latency_ms: float
    sqnr_db: float
    series: Series
    label: str


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that none beats in both, fastest first; a point is (latency, SQNR in dB)."""
    best = -math.inf
    front = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            front.append(index)
    return front


def tradeoff_plot(series: Sequence[Series], identifier: str) -> str:
    """p50 to the right, total SQNR upwards: the best place is top left.  Invalid artefacts are hollow, off the front.

    Returns an empty string when no artefact has both numbers.
    """
    points = _points(series)
    if not points:
        return ""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(WIDTH / 72, _HEIGHT / 72))
        axes = figure.add_axes(
            (
                _LEFT / WIDTH,
                _FOOT / _HEIGHT,
                1 - (_LEFT + _RIGHT) / WIDTH,
                1 - (_FOOT + _TOP) / _HEIGHT,
            )
        )
        _style(axes, points)
        valid = [point for point in points if point.series.result.valid]
        front = [valid[i] for i in pareto_front([point[:2] for point in valid])]
        axes.plot(
            [point.latency_ms for point in front],
            [point.sqnr_db for point in front],
            color=colour("ink"),
            linewidth=0.9,
            drawstyle="steps-post",
        )
        for point in points:
            ok = point.series.result.valid
            axes.plot(
                [point.latency_ms],
                [point.sqnr_db],
                marker="o",
                markersize=9 if point in front else 6,
                color=colour(point.series.colour if ok else "surface"),
                markeredgecolor=colour("ink" if point in front else "muted"),
                markeredgewidth=0 if ok and point not in front else 0.9,
                clip_on=False,
            )
        _labels(axes, points, front)
        return inline_svg(figure, identifier, "Latency against total drift")


def _points(series: Sequence[Series]) -> list[_Point]:
    found = []
    for s in series:
        p50, drift = s.result.latency_ns.p50, s.result.drift
        if p50 is None or drift is None or not math.isfinite(drift.total.max_abs):
            continue
        exact = drift.total.sqnr_db is None and drift.total.max_abs == 0
        if not exact and (drift.total.sqnr_db is None or not math.isfinite(drift.total.sqnr_db)):
            continue
        # Identical outputs have no finite SQNR: they are drawn above all float32 results, and say so.
        height = 160.0 if drift.total.sqnr_db is None else drift.total.sqnr_db
        label = s.label[:32] + (" (exact)" if exact else "") + ("" if s.result.valid else ", invalid")
        found.append(_Point(p50 / 1e6, height, s, label))
    return found


def _style(axes: Any, points: Sequence[_Point]) -> None:
    time_axis(axes.set_xscale, axes.set_xlim, axes.xaxis, np.array([point.latency_ms for point in points]))
    heights = [point.sqnr_db for point in points]
    margin = max(8.0, 0.12 * (max(heights) - min(heights)))
    axes.set_ylim(min(0.0, min(heights) - margin), max(heights) + margin)
    quiet_axes(axes)
    axes.set_xlabel("latency p50, ms", color=colour("muted"))
    axes.text(0, 1.01, "total SQNR, dB", transform=axes.transAxes, ha="left", va="bottom", color=colour("muted"))


def _labels(axes: Any, points: Sequence[_Point], front: Sequence[_Point]) -> None:
    """Names beside their points, moved down or up, with a thin line, where they would cover another or the front."""
    to_points = axes.transData.transform
    width, height = WIDTH, _HEIGHT
    taken = [(_LEFT, height - _TOP, _LEFT + 80, height)]  # the name of the y axis
    centres = [to_points((point.latency_ms, point.sqnr_db)) for point in points]
    taken.extend((x - 5, y - 4, x + 5, y + 4) for x, y in centres)
    corners = [to_points((point.latency_ms, point.sqnr_db)) for point in front]
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        taken += [(x, y - 1, next_x, y + 1), (next_x - 1, y, next_x + 1, next_y)]
    for point, (x, y) in sorted(zip(points, centres, strict=True), key=lambda pair: -pair[1][1]):
        length = _LETTER * len(point.label)
        right = x + 9 + length < width
        left = x + 9 if right else x - 9 - length
        shifts = [step * sign * _LINE / 2 for step in range(24) for sign in (-1, 1)]
        boxes = [(left, y + shift - _LINE / 2, left + length, y + shift + _LINE / 2) for shift in shifts]
        inside = [box for box in boxes if box[1] > _FOOT and box[3] < height]
        free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
        box = free[0] if free else boxes[0]
        taken.append(box)
        text_y = (box[1] + box[3]) / 2
        axes.annotate(
            point.label,
            (point.latency_ms, point.sqnr_db),
            xytext=((left if right else left + length) - x, text_y - y),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            bbox={"facecolor": colour("surface"), "linewidth": 0, "pad": 0.5, "alpha": 0.85},
            color=colour("ink" if point.series.result.valid else "warn"),
            arrowprops={"arrowstyle": "-", "color": colour("muted"), "linewidth": 0.5, "shrinkA": 2, "shrinkB": 5}
            if abs(text_y - y) > _LINE
            else None,
        )


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
