"""What plots with one row for each artefact share.

All lengths are points of a 360 pt wide drawing, narrow enough to stay readable on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.report.series import Series
from edgeconv.benchmarks.report.svg import colour

__all__ = ["ROW", "TITLE", "WIDTH", "Floats", "bar", "dots", "row_figure", "time_axis", "tone"]

WIDTH = 360.0
ROW, TITLE = 38.0, 12.0  # height of a row, and of the line of text at its top
_FOOT, _SIDE = 34.0, 6.0
_LOG_RANGE = 8.0  # a linear axis shows ranges up to this ratio

Floats = npt.NDArray[np.float64]


def time_axis(set_scale: Any, set_limits: Any, axis: Any, values_ms: Floats) -> None:
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


def row_figure(series: Sequence[Series], values: Sequence[str], row_height: float = ROW) -> tuple[Any, Any]:
    """A figure whose y axis counts points downwards; each row has its artefact's name and a value above the marks."""
    from matplotlib.figure import Figure

    body = max(len(series), 1) * row_height
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
        y = row * row_height + TITLE - 2
        axes.text(0, y, s.label[:40], transform=across, color=colour("ink"))
        mark = value if s.result.valid else f"{value}, invalid".removeprefix(", ")
        axes.text(1, y, mark, transform=across, ha="right", color=colour("ink" if s.result.valid else "warn"))
    return figure, axes


def tone(s: Series) -> str:
    """The token that marks of an artefact are drawn in: grey where it is not valid."""
    return s.colour if s.result.valid else "muted"


def dots(axes: Any, x: Floats, y: Floats, token: str) -> None:
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


def bar(axes: Any, x: float, top: float, height: float, token: str, width: float) -> None:
    """An upright stroke."""
    axes.plot([x, x], [top, top + height], color=colour(token), linewidth=width, solid_capstyle="butt")
