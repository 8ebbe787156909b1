"""What a table about measured artefacts can show: one column, one function of a `Result`.

The HTML page, the Markdown variant and the terminal tables all pick from these, so that a number reads the same in
each of them and a missing one has the same reason.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from edgeconv.benchmarks.agent.percentiles import CONFIDENCE, minimum_samples
from edgeconv.benchmarks.report.units import decibels, megabytes, metric, milliseconds, percent
from edgeconv.records import Drift, DriftPart, Latency, Memory, Result

__all__ = ["COLUMNS", "Cell", "Column", "column", "columns_of"]


@dataclasses.dataclass(frozen=True)
class Cell:
    """The text of one number; without one, `text` is empty and `note` says why.

    `spread` is the half width of its confidence interval, as text, where it has one; `note` has the interval itself.
    """

    text: str
    note: str = ""
    spread: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column; figures `of_speed`, and memory, carry a mark wherever the result is invalid.

    What was computed stands: a busy or throttled machine computes the same.
    """

    group: str
    title: str
    unit: str
    read: Callable[[Result], Cell]
    of_speed: bool = True

    @property
    def label(self) -> str:
        """Group, title and unit in one line, for where a head of two rows has no place."""
        return f"{self.group} {self.title}".strip() + (f", {self.unit}" if self.unit else "")


def columns_of(*groups: str) -> list[Column]:
    """The columns of `groups`, in the order of `COLUMNS`; "Latency p50" is that one column of its group."""
    return [column for column in COLUMNS if {column.group, f"{column.group} {column.title}"} & set(groups)]


def column(name: str) -> Column:
    """The column called like "Latency p50"."""
    return next(column for column in COLUMNS if f"{column.group} {column.title}" == name)


def _percentile(percent: int, read: Callable[[Latency], int | None]) -> Column:
    def cell(result: Result) -> Cell:
        value, count = read(result.latency_ns), len(result.latency_ns.samples)
        if value is not None:
            return _with_interval(value, result.latency_ns.intervals.get(f"p{percent}"))
        if result.latency_ns.summary is not None:
            return Cell("", f"{result.latency_ns.summary.tool} keeps no samples, so there is no percentile")
        return Cell("", f"{count} samples; p{percent} needs {minimum_samples(percent)}")

    return Column("Latency", f"p{percent}", "ms", cell)


def _with_interval(value: int, interval: Sequence[int] | None) -> Cell:
    if interval is None or len(interval) != 2:
        return Cell(milliseconds(value))
    low, high = interval
    note = f"{CONFIDENCE:.0%} confidence: {milliseconds(low)} to {milliseconds(high)} ms"
    return Cell(milliseconds(value), note, milliseconds(max(value - low, high - value, 0), like=value))


def _optional_time(value_ns: int | None) -> Cell:
    return Cell(milliseconds(value_ns)) if value_ns is not None else Cell("", "not measured")


def _memory(read: Callable[[Memory], int | None]) -> Callable[[Result], Cell]:
    def cell(result: Result) -> Cell:
        peak, baseline = read(result.memory), result.memory.baseline_rss_bytes
        if peak is None or baseline is None:
            return Cell("", "the system does not tell")
        return Cell(megabytes(peak - baseline))

    return cell


def _drift(title: str, read: Callable[[Drift], DriftPart]) -> Column:
    def cell(result: Result) -> Cell:
        return _sqnr(read(result.drift)) if result.drift is not None else Cell("", "not measured")

    return Column("Drift", title, "dB", cell, of_speed=False)


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

    return Column("Task metric", title, unit, cell, of_speed=False)


def _share(result: Result) -> Cell:
    execution = result.execution
    if execution is None or execution.share is None:
        return Cell("", "the runtime does not tell")
    return Cell(f"{100 * execution.share:.0f}", f"asked for {execution.requested}, ran {execution.used}")


def _integers(result: Result) -> Cell:
    execution = result.execution
    if execution is None or execution.int8_mac_share is None:
        return Cell("", "no int8 artefact, or nobody can tell")
    in_float = f"in float: {', '.join(execution.float_macs)}" if execution.float_macs else ""
    return Cell(f"{100 * execution.int8_mac_share:.4g}", in_float)


def _state(result: Result) -> Cell:
    if result.state is None:
        return Cell("", "the device's state was not recorded")
    return Cell(result.state.verdict, "; ".join(result.state.reasons))


def _change(torch: float, value: float) -> str:
    return percent((value - torch) / abs(torch)) if torch else ("+0.00" if value == torch else "")


COLUMNS = [
    _percentile(50, lambda latency: latency.p50),
    _percentile(90, lambda latency: latency.p90),
    _percentile(95, lambda latency: latency.p95),
    _percentile(99, lambda latency: latency.p99),
    Column("Start", "load", "ms", lambda result: _optional_time(result.load_ns)),
    Column("Start", "first", "ms", lambda result: _optional_time(result.first_inference_ns)),
    Column("Memory", "load", "MB", _memory(lambda memory: memory.load_peak_rss_bytes)),
    Column("Memory", "peak", "MB", _memory(lambda memory: memory.peak_rss_bytes)),
    Column("File", "size", "MB", lambda result: Cell(megabytes(result.artifact_bytes)), of_speed=False),
    _drift("export", lambda drift: drift.export),
    _drift("quantis.", lambda drift: drift.quantisation),
    _drift("runtime", lambda drift: drift.runtime),
    _drift("total", lambda drift: drift.total),
    _task("PyTorch", "", lambda torch, value: metric(torch)),
    _task("runtime", "", lambda torch, value: metric(value)),
    _task("change", "%", _change),
    Column("Ran", "as asked", "%", _share, of_speed=False),
    Column("Ran", "int8", "%", _integers, of_speed=False),
    Column("Ran", "state", "", _state, of_speed=False),
]
