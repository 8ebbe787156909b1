"""What the store indexes of a run: the columns of its tables, taken from the record."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import zlib

from edgeconv.errors import RecordError
from edgeconv.records import Result, RunRecord
from edgeconv.schema import to_dict

__all__ = ["StoredResult", "StoredRun", "instant", "record_text", "result_row", "run_row", "seconds", "storable_id"]


@dataclasses.dataclass(frozen=True)
class StoredResult:
    """The figures of one artefact as the store indexes them; the samples are in the record.

    `sqnr_db` is that of the total drift, infinite where the outputs are identical; `options` are the runtime's, as
    asked, like "provider=cuda, spinning=off".
    """

    runtime: str
    precision: str
    runtime_version: str | None
    threads: int
    mode: str
    artifact_sha256: str
    valid: bool
    state: str | None
    p50_ns: int | None
    p50_low_ns: int | None
    p50_high_ns: int | None
    p90_ns: int | None
    peak_rss_bytes: int | None
    sqnr_db: float | None
    options: str = ""


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """One run and those of its results that were asked for."""

    run_id: str
    started_at: str
    model: str
    model_sha256: str | None
    device: str
    target: str
    machine: str
    emulated: bool
    clock: str
    edgeconv_version: str
    tools: dict[str, str]
    results: list[StoredResult]


def record_text(record: RunRecord) -> str:
    """A run record as one line of JSON."""
    return json.dumps(to_dict(record), separators=(",", ":"), allow_nan=False)


def instant(text: str) -> datetime.datetime:
    """A date or a moment of ISO 8601; UTC where it names no zone.  Raises ValueError."""
    moment = datetime.datetime.fromisoformat(text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def seconds(moment: datetime.datetime) -> float:
    """Since 1970; UTC where it names no zone."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp()


def storable_id(run_id: str) -> str:
    """`run_id`, if it can be typed and printed; RecordError otherwise."""
    if not run_id.strip() or not run_id.isprintable():
        raise RecordError(f"A run cannot be kept under the id {run_id!a}.")
    return run_id


def run_row(record: RunRecord, text: str) -> tuple[object, ...]:
    """The row of the table `runs`; `text` is the record's JSON.  Raises ValueError for a moment that is none."""
    host = record.host
    return (
        record.run_id,
        seconds(instant(record.started_at)),
        record.started_at,
        record.model,
        record.model_sha256,
        record.device,
        record.target,
        host.board or host.cpu_model or host.machine,
        host.emulated,
        host.clock,
        record.edgeconv_version,
        json.dumps(record.tools),
        zlib.compress(text.encode("ascii")),
    )


def result_row(result: Result) -> tuple[object, ...]:
    """The row of the table `results`, less run and position."""
    low, high = result.latency_ns.intervals.get("p50", [None, None])
    indexed = StoredResult(
        runtime=result.runtime,
        precision=result.precision,
        runtime_version=result.evidence.get("version"),
        threads=result.threads,
        mode=result.mode,
        artifact_sha256=result.artifact_sha256,
        valid=result.valid,
        state=result.state.verdict if result.state else None,
        p50_ns=result.latency_ns.p50,
        p50_low_ns=low,
        p50_high_ns=high,
        p90_ns=result.latency_ns.p90,
        peak_rss_bytes=result.memory.peak_rss_bytes,
        sqnr_db=_total_sqnr(result),
        options=", ".join(f"{name}={value}" for name, value in sorted(result.options.items())),
    )
    return tuple(getattr(indexed, field.name) for field in dataclasses.fields(indexed))


def _total_sqnr(result: Result) -> float | None:
    if result.drift is None:
        return None
    total = result.drift.total
    return math.inf if total.sqnr_db is None and total.max_abs == 0 else total.sqnr_db
