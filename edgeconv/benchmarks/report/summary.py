"""The answer before the table: which artefact is the fastest, and what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgeconv.benchmarks.report.columns import Cell, column
from edgeconv.benchmarks.report.series import Series

__all__ = ["Figure", "Summary", "fastest"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One large number: its name, text, unit, and what to compare it with."""

    title: str
    text: str
    unit: str
    context: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """The fastest valid artefact."""

    series: Series
    figures: list[Figure]


def fastest(series: Sequence[Series]) -> Summary | None:
    """Judged by p50 among the valid results; None where there is none."""
    timed = [s for s in series if s.result.valid and s.result.latency_ns.p50 is not None]
    if not timed:
        return None
    best = min(timed, key=_p50)
    floats = [s for s in timed if s.result.precision == "fp32" and s is not best]
    baseline = min(floats, key=_p50) if floats else None
    speed = f"{_p50(baseline) / _p50(best):.1f} times as fast as {baseline.label}" if baseline else "median"
    figures = [
        _figure(best, "Latency p50", "Latency p50", speed),
        _figure(best, "Drift total", "Against PyTorch", "total SQNR"),
        _figure(best, "Memory peak", "Memory", "above the runtime alone"),
        _figure(best, "File size", "File", "with its weights"),
    ]
    if best.result.task is not None:
        torch = column("Task metric PyTorch").read(best.result).text
        figures.insert(1, _figure(best, "Task metric runtime", best.result.task.name, f"PyTorch {torch}"))
    return Summary(best, [figure for figure in figures if figure.text])


def _figure(s: Series, name: str, title: str, context: str) -> Figure:
    chosen = column(name)
    cell: Cell = chosen.read(s.result)
    return Figure(title, cell.text, chosen.unit, f"±{cell.spread}, {context}" if cell.spread else context)


def _p50(s: Series) -> int:
    return s.result.latency_ns.p50 or 0
