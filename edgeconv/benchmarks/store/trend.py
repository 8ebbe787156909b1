"""One figure of one model over its runs: a trend for each machine and way of running, never two of them in one."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
from collections.abc import Callable, Sequence

from edgeconv.benchmarks.store.index import StoredResult, StoredRun, instant
from edgeconv.errors import RecordError

__all__ = ["FIGURES", "Figure", "Point", "Trend", "changes_of", "kind_of", "trends_of"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """What a trend can be of, in the unit that is shown; `read` gives None where it was not measured."""

    title: str
    unit: str
    read: Callable[[StoredResult], float | None]
    interval: Callable[[StoredResult], tuple[float, float] | None] = lambda result: None


def _scaled(value: int | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


def _p50_interval(result: StoredResult) -> tuple[float, float] | None:
    if result.p50_low_ns is None or result.p50_high_ns is None:
        return None
    return result.p50_low_ns / 1e6, result.p50_high_ns / 1e6


FIGURES = {
    "p50": Figure("latency p50", "ms", lambda result: _scaled(result.p50_ns, 1e6), _p50_interval),
    "p90": Figure("latency p90", "ms", lambda result: _scaled(result.p90_ns, 1e6)),
    "memory": Figure("peak memory", "MB", lambda result: _scaled(result.peak_rss_bytes, 1e6)),
    # Identical outputs have no finite SQNR and so no place on an axis.
    "drift": Figure(
        "total SQNR",
        "dB",
        lambda result: result.sqnr_db if result.sqnr_db is not None and math.isfinite(result.sqnr_db) else None,
    ),
}


@dataclasses.dataclass(frozen=True)
class Point:
    """The figure in one run, with its 99 % interval where it has one; `changes` since the point before, in words."""

    run_id: str
    moment: datetime.datetime
    value: float
    interval: tuple[float, float] | None
    valid: bool
    changes: list[str]


@dataclasses.dataclass(frozen=True)
class Trend:
    """The points of one artefact on one machine, in the order of time."""

    device: str
    machine: str
    kind: str
    runtime: str
    precision: str
    label: str  # runtime, precision and what else sets it apart
    points: list[Point]

    @property
    def valid(self) -> list[Point]:
        """The points that may be compared."""
        return [point for point in self.points if point.valid]


def kind_of(emulated: bool, clock: str) -> str:
    """What a run's figures are: those of one kind may be compared, those of two may not."""
    what = "emulated" if emulated else "measured"
    return what if clock == "wall" else f"{what}, {clock} clock"


def trends_of(runs: Sequence[StoredRun], figure: Figure) -> list[Trend]:
    """The trends of one model's runs; runs on an emulated and on a real machine, or by another clock, stay apart.

    Raises:
        RecordError: the runs are of different models.
    """
    models = sorted({run.model for run in runs})
    if len(models) > 1:
        raise RecordError(f"The runs are of different models: {', '.join(models)}.", "A trend is of one: --model.")
    found: dict[tuple[str, ...], list[tuple[StoredRun, StoredResult]]] = {}
    for run in sorted(runs, key=lambda run: (instant(run.started_at), run.run_id)):
        for result in run.results:
            place = run.device, run.machine, kind_of(run.emulated, run.clock)
            same = (*place, result.runtime, result.precision, _label(result))
            found.setdefault(same, []).append((run, result))
    trends = [_trend(same, _points(pairs, figure)) for same, pairs in found.items()]
    return sorted((t for t in trends if t.points), key=lambda t: (t.kind != "measured", t.kind, t.device, t.machine))


def changes_of(trends: Sequence[Trend]) -> list[str]:
    """What changed from run to run, oldest first: the day, the change, and of which artefacts where not of all."""
    found: dict[tuple[datetime.datetime, str], list[str]] = {}
    for trend in trends:
        for point in trend.points:
            for change in point.changes:
                found.setdefault((point.moment, change), []).append(trend.label)
    return [
        f"{moment:%Y-%m-%d}: {change}" + ("" if len(labels) == len(trends) else f" ({', '.join(labels)})")
        for (moment, change), labels in sorted(found.items())
    ]


def _trend(same: tuple[str, ...], points: list[Point]) -> Trend:
    device, machine, kind, runtime, precision, label = same
    return Trend(device, machine, kind, runtime, precision, label, points)


def _label(result: StoredResult) -> str:
    threads = "" if result.threads == 1 else f" ×{result.threads}"
    others = [result.options, "" if result.mode == "steady" else result.mode]
    return ", ".join([f"{result.runtime} {result.precision}{threads}", *filter(None, others)])


def _points(pairs: Sequence[tuple[StoredRun, StoredResult]], figure: Figure) -> list[Point]:
    # Several results of one run under one label are the last of them: an artefact that was measured again.
    last = {run.run_id: (run, result) for run, result in pairs if figure.read(result) is not None}
    ordered = list(last.values())
    changes = [_changes(before, after) for before, after in itertools.pairwise([*ordered[:1], *ordered])]
    return [
        Point(
            run_id=run.run_id,
            moment=instant(run.started_at),
            value=figure.read(result) or 0.0,
            interval=figure.interval(result),
            valid=result.valid,
            changes=changed,
        )
        for (run, result), changed in zip(ordered, changes, strict=True)
    ]


def _changes(before: tuple[StoredRun, StoredResult], after: tuple[StoredRun, StoredResult]) -> list[str]:
    (run, result), (next_run, next_result) = before, after
    changed = []
    if None not in (run.model_sha256, next_run.model_sha256) and run.model_sha256 != next_run.model_sha256:
        changed.append("other weights")
    elif result.artifact_sha256 != next_result.artifact_sha256:
        changed.append("other file")
    versions = [(result.runtime, result.runtime_version, next_result.runtime_version)]
    versions.append(("edgeconv", run.edgeconv_version, next_run.edgeconv_version))
    changed += [f"{name} {old} → {new}" for name, old, new in versions if old and new and old != new]
    return changed
