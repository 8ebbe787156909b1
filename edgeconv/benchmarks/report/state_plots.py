"""The device while it was measured: temperature, clock frequency and power of each artefact's run over time.

Spans in which the device says that it is throttled are shaded, with a bar above them, and told in words at the right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgeconv.benchmarks.report.rows import ROW, TITLE, row_figure
from edgeconv.benchmarks.report.series import Series
from edgeconv.benchmarks.report.svg import colour, drawing, inline_svg
from edgeconv.records import DeviceState, StateSample

__all__ = ["QUANTITIES", "Quantity", "state_plot", "throttled_spans"]

_LEAST_SPAN = 0.006  # of the axis: a span of one sample stays visible


@dataclasses.dataclass(frozen=True)
class Quantity:
    """Something that is sampled while an artefact is measured: one line for each sensor."""

    title: str
    unit: str
    read: Callable[[StateSample], dict[str, float]]
    digits: int


QUANTITIES = (
    Quantity("Temperature", "°C", lambda sample: sample.temperatures_celsius, 0),
    Quantity(
        "Clock frequency",
        "GHz",
        lambda sample: {name: khz / 1e6 for name, khz in sample.frequencies_khz.items()},
        2,
    ),
    Quantity("Power", "W", lambda sample: sample.power_watts, 1),
)


def state_plot(series: Sequence[Series], quantity: Quantity, identifier: str) -> str:
    """A row for each artefact, all on one scale of time and of the quantity; an empty string where nobody told it."""
    told = [s for s in series if s.result.state is not None and _lines(s.result.state, quantity)]
    if not told:
        return ""
    with drawing():
        states = [s.result.state for s in told if s.result.state is not None]
        values = [value for state in states for line in _lines(state, quantity).values() for _, value in line]
        low, high = min(values), max(values)
        spread = max(high - low, 0.05 * abs(high), 1e-6)
        longest = max([*(sample.at_seconds for state in states for sample in state.samples), 1.0])
        figure, axes = row_figure(told, [_text(state, quantity) for state in states])
        axes.set_xlim(0, longest * 1.01)
        axes.set_xlabel(f"seconds; a row spans {low:.{quantity.digits}f} to {high:.{quantity.digits}f} {quantity.unit}")
        for row, (s, state) in enumerate(zip(told, states, strict=True)):
            bottom, height = (row + 1) * ROW - 6, ROW - TITLE - 10
            axes.plot([0, longest], [bottom + 2, bottom + 2], color=colour("line"), linewidth=0.8)
            _shade(axes, state, longest, bottom, height)
            for line in _lines(state, quantity).values():
                heights = [bottom - height * (value - low) / spread for _, value in line]
                token = s.colour if s.result.valid else "muted"
                seconds = [at for at, _ in line]
                axes.plot(seconds, heights, color=colour(token), linewidth=1.3, solid_capstyle="round")
                if len(line) == 1:
                    axes.plot(seconds, heights, marker="o", markersize=3, color=colour(token))
        return inline_svg(figure, identifier, f"{quantity.title} while each artefact was measured")


def throttled_spans(state: DeviceState) -> list[tuple[float, float]]:
    """Seconds [begin, end] in which the device was throttled: from a sample that says so to the next that does not."""
    spans: list[tuple[float, float]] = []
    samples = state.samples
    for index, sample in enumerate(samples):
        if not sample.throttled:
            continue
        end = samples[min(index + 1, len(samples) - 1)].at_seconds
        if spans and spans[-1][1] >= sample.at_seconds:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((sample.at_seconds, end))
    return spans


def _lines(state: DeviceState, quantity: Quantity) -> dict[str, list[tuple[float, float]]]:
    """(seconds, value) of each sensor."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for sample in state.samples:
        for name, value in quantity.read(sample).items():
            lines.setdefault(name, []).append((sample.at_seconds, value))
    return lines


def _shade(axes: Any, state: DeviceState, longest: float, bottom: float, height: float) -> None:
    for begin, end in throttled_spans(state):
        end = max(end, begin + _LEAST_SPAN * longest)
        axes.fill_between([begin, end], bottom - height - 3, bottom + 2, color=colour("warn"), alpha=0.16, linewidth=0)
        axes.plot([begin, end], [bottom - height - 3] * 2, color=colour("warn"), linewidth=1.6, solid_capstyle="butt")


def _text(state: DeviceState, quantity: Quantity) -> str:
    return ", ".join(_words(state, quantity))


def _words(state: DeviceState, quantity: Quantity) -> Iterator[str]:
    hottest = [max(found.values()) for sample in state.samples if (found := quantity.read(sample))]
    low, high = (f"{end:.{quantity.digits}f}" for end in (min(hottest), max(hottest)))
    yield f"{low} {quantity.unit}" if low == high else f"{low}–{high} {quantity.unit}"
    if spans := throttled_spans(state):
        yield f"throttled {sum(end - begin for begin, end in spans):.0f} s"
