"""The figures of one run, with their captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from edgeconv.benchmarks.report.series import Series

__all__ = ["Plot", "figures_of"]


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure as the page shows it."""

    title: str
    caption: str
    svg: str


def figures_of(series: Sequence[Series], identifier: str) -> Iterator[Plot]:
    """What can be drawn of the artefacts of one run; a run is of one machine and one clock, so no figure mixes two."""
    from edgeconv.benchmarks.report.plots import MAX_POINTS, latency_plot, memory_plot, timeline_plot
    from edgeconv.benchmarks.report.state_plots import QUANTITIES, state_plot
    from edgeconv.benchmarks.report.tradeoff import tradeoff_plot

    invalid = any(not s.result.valid for s in series)
    grey, hollow = (" Grey: not valid.", " Hollow: not valid.") if invalid else ("", "")
    told = any(s.result.latency_ns.summary for s in series)
    yield Plot(
        "Latency, every sample",
        f"A dot is one inference (at most {MAX_POINTS} evenly spaced ranks of a sample), the long bar p50, the short "
        "one p90; the bands at their feet are the 99 % confidence intervals."
        + (" A diamond is the mean of a tool that keeps no samples, on a line from its least to its greatest." * told)
        + grey,
        latency_plot(series, f"{identifier}-latency"),
    )
    if svg := tradeoff_plot(series, f"{identifier}-tradeoff"):
        yield Plot(
            "Latency and drift",
            f"Up is closer to PyTorch, left is faster. The line is the Pareto front: no other artefact beats those on "
            f"it in both.{hollow}",
            svg,
        )
    yield Plot(
        "Memory",
        "Grey: the process with the runtime imported. Full colour: what loading the model adds at its peak. Pale: what "
        f"running it takes beyond that.{hollow}",
        memory_plot(series, f"{identifier}-memory"),
    )
    yield Plot(
        "Latency over the run",
        "Relative to the median of the row, which is its middle line; up is slower. A row spans half to twice the "
        "median; what is slower than that is a dot at the top. An upright stroke is where a fresh process took over.",
        timeline_plot(series, f"{identifier}-timeline"),
    )
    for quantity in QUANTITIES:
        if svg := state_plot(series, quantity, f"{identifier}-{quantity.title.lower().replace(' ', '-')}"):
            yield Plot(
                f"{quantity.title} during the run",
                "From before the first inference to after the last, about a sample a second, a line for each sensor; "
                f"at the right the range of the highest. Red: the device says that it is throttled.{grey}",
                svg,
            )
