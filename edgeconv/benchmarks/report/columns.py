"""What a table about measured artefacts can show: one column, one function of a `Result`.

The HTML page, the Markdown variant and the terminal tables all pick from these, so that a number reads the same in
each of them and a missing one has the same reason.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from edgeconv.benchmarks.agent.percentiles import minimum_samples
from edgeconv.benchmarks.report.units import decibels, megabytes, metric, milliseconds, percent
from edgeconv.records import Drift, DriftPart, Latency, Result

__all__ = ["COLUMNS", "Cell", "Column", "columns_of"]


@dataclasses.dataclass(frozen=True)
class Cell:
    """The text of one number; without one, `text` is empty and `note` says why."""

    text: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column; what is `measured` carries a mark wherever the result is invalid."""

    group: str
    title: str
    unit: str
    read: Callable[[Result], Cell]
    measured: bool = True

    @property
    def label(self) -> str:
        """Group, title and unit in one line, for where a head of two rows has no place."""
        return f"{self.group} {self.title}".strip() + (f", {self.unit}" if self.unit else "")


def columns_of(*groups: str) -> list[Column]:
    """The columns of `groups`, in the order of `COLUMNS`."""
    return [column for column in COLUMNS if column.group in groups]


def _percentile(percent: int, read: Callable[[Latency], int | None]) -> Column:
    def cell(result: Result) -> Cell:
        value, count = read(result.latency_ns), len(result.latency_ns.samples)
        if value is not None:
            return Cell(milliseconds(value))
        return Cell("", f"{count} samples; p{percent} needs {minimum_samples(percent)}")

    return Column("Latency", f"p{percent}", "ms", cell)


def _optional_time(value_ns: int | None) -> Cell:
    return Cell(milliseconds(value_ns)) if value_ns is not None else Cell("", "not measured")


def _memory(result: Result) -> Cell:
    peak, baseline = result.memory.peak_rss_bytes, result.memory.baseline_rss_bytes
    if peak is None or baseline is None:
        return Cell("", "the system does not tell")
    return Cell(megabytes(peak - baseline))


def _drift(title: str, read: Callable[[Drift], DriftPart]) -> Column:
    def cell(result: Result) -> Cell:
        return _sqnr(read(result.drift)) if result.drift is not None else Cell("", "not measured")

    return Column("Drift", title, "dB", cell)


def _sqnr(part: DriftPart) -> Cell:
    if not math.isfinite(part.max_abs):
        return Cell("NaN", "outputs that are not finite")
    if part.sqnr_db is not None and math.isfinite(part.sqnr_db):
        return Cell(decibels(part.sqnr_db))
    return Cell("exact", "identical outputs") if part.max_abs == 0 else Cell("", "no SQNR can be given")


def _task(title: str, unit: str, text: Callable[[float, float], str]) -> Column:
    def cell(result: Result) -> Cell:
        if result.task is None:
            return Cell("", "the bundle has no task metric")
        if not (math.isfinite(result.task.torch) and math.isfinite(result.task.value)):
            return Cell("NaN", "the metric is not finite")
        return Cell(text(result.task.torch, result.task.value))

    return Column("Task metric", title, unit, cell)


def _change(torch: float, value: float) -> str:
    return percent((value - torch) / abs(torch)) if torch else ("+0.00" if value == torch else "")


COLUMNS = [
    _percentile(50, lambda latency: latency.p50),
    _percentile(90, lambda latency: latency.p90),
    _percentile(99, lambda latency: latency.p99),
    Column("Start", "load", "ms", lambda result: _optional_time(result.load_ns)),
    Column("Start", "first", "ms", lambda result: _optional_time(result.first_inference_ns)),
    Column("Memory", "added", "MB", _memory),
    Column("File", "size", "MB", lambda result: Cell(megabytes(result.artifact_bytes)), measured=False),
    _drift("export", lambda drift: drift.export),
    _drift("quantis.", lambda drift: drift.quantisation),
    _drift("runtime", lambda drift: drift.runtime),
    _drift("total", lambda drift: drift.total),
    _task("PyTorch", "", lambda torch, value: metric(torch)),
    _task("runtime", "", lambda torch, value: metric(value)),
    _task("change", "%", _change),
]
