"""Carrying runs between stores: JSON lines (one record a line) and Parquet (one row a run, for data frames)."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeconv.benchmarks.store.index import record_text
from edgeconv.benchmarks.store.runs import records, save_runs
from edgeconv.errors import RecordError, UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.records import RunRecord, parse_record

__all__ = ["Imported", "export_runs", "import_runs"]

_MAX_SHOWN = 5  # lines named in a message


@dataclasses.dataclass(frozen=True)
class Imported:
    """How many runs were new, and how many the store had already."""

    added: int
    known: int


def export_runs(file: Path, path: Path | None = None) -> int:
    """Write every run of the store to `file`, whole or not at all; its suffix says how (.jsonl or .parquet).

    Returns:
        How many runs were written.

    Raises:
        UsageError: another suffix, pyarrow is not installed, or `file` cannot be written.
        RecordError: there is no store, or it is damaged.
    """
    write = _format(file).write
    found = list(records(path))
    atomic_write_bytes(file, write(found))
    return len(found)


def import_runs(file: Path, path: Path | None = None) -> Imported:
    """Keep every run of `file`; when one cannot be read or kept, none is.

    Raises:
        UsageError: a suffix other than .jsonl and .parquet, or pyarrow is not installed.
        RecordError: no such file, or lines that are no run records (their numbers are named), or a different run of
            the same id is kept already.
    """
    read = _format(file).read
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error}.") from error
    found, problems = [], []
    for where, text in read(content, file):
        try:
            found.append(parse_record(text, where))
        except RecordError as error:
            problems.append(error.message)
    if problems:
        more = f" (and {len(problems) - _MAX_SHOWN} more)" if len(problems) > _MAX_SHOWN else ""
        raise RecordError(" ".join(problems[:_MAX_SHOWN]) + more, "Nothing was imported.")
    added = save_runs(found, path)
    return Imported(added, len(found) - added)


def _write_lines(found: Sequence[RunRecord]) -> bytes:
    return "".join(f"{record_text(record)}\n" for record in found).encode("ascii")


def _read_lines(content: bytes, file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{file}, line {number},", line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RecordError(f"{file}, line {number}, is no text: {error}.", "Nothing was imported.") from error


def _write_parquet(found: Sequence[RunRecord]) -> bytes:
    """`record` is the whole run as JSON and what an import reads; the other columns are for whoever analyses them."""
    arrow, parquet = _pyarrow()
    try:
        table = arrow.Table.from_pylist([_row(record) for record in found], schema=_arrow_schema(arrow))
    except (arrow.ArrowException, OverflowError) as error:
        raise RecordError(f"The runs do not fit Parquet: {error}.", "Export them as .jsonl.") from error
    stream = io.BytesIO()
    parquet.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _read_parquet(content: bytes, file: Path) -> Iterator[tuple[str, str]]:
    arrow, parquet = _pyarrow()
    try:
        column = parquet.read_table(io.BytesIO(content), columns=["record"]).column("record").to_pylist()
    except (arrow.ArrowException, OSError, KeyError) as error:
        raise RecordError(
            f"{file} is no Parquet file of runs: {str(error).splitlines()[0]}", "Nothing was imported."
        ) from error
    for number, text in enumerate(column, start=1):
        if not isinstance(text, str):
            raise RecordError(f"{file}, row {number}, has no record.", "Nothing was imported.")
        yield f"{file}, row {number},", text


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "started_at": record.started_at,
        "model": record.model,
        "model_sha256": record.model_sha256,
        "device": record.device,
        "target": record.target,
        "machine": record.host.board or record.host.cpu_model or record.host.machine,
        "emulated": record.host.emulated,
        "clock": record.host.clock,
        "results": [
            {
                "runtime": result.runtime,
                "precision": result.precision,
                "valid": result.valid,
                "threads": result.threads,
                "p50_ns": result.latency_ns.p50,
                "p90_ns": result.latency_ns.p90,
                "p99_ns": result.latency_ns.p99,
                "peak_rss_bytes": result.memory.peak_rss_bytes,
                "sqnr_db": result.drift.total.sqnr_db if result.drift else None,
                "samples_ns": result.latency_ns.samples,
            }
            for result in record.results
        ],
        "record": record_text(record),
    }


def _arrow_schema(arrow: Any) -> Any:
    text, whole, flag = arrow.string(), arrow.int64(), arrow.bool_()
    result = {
        **dict.fromkeys(("runtime", "precision"), text),
        "valid": flag,
        **dict.fromkeys(("threads", "p50_ns", "p90_ns", "p99_ns", "peak_rss_bytes"), whole),
        "sqnr_db": arrow.float64(),
        "samples_ns": arrow.list_(whole),
    }
    run = dict.fromkeys(("run_id", "started_at", "model", "model_sha256", "device", "target", "machine"), text)
    rest = {"emulated": flag, "clock": text, "results": arrow.list_(arrow.struct(list(result.items()))), "record": text}
    return arrow.schema([*run.items(), *rest.items()])


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"Parquet needs the package {error.name}.", "pip install 'edgeconv[history]', or use a .jsonl file."
        ) from error
    return pyarrow, pyarrow.parquet


@dataclasses.dataclass(frozen=True)
class _Format:
    write: Callable[[Sequence[RunRecord]], bytes]
    read: Callable[[bytes, Path], Iterator[tuple[str, str]]]


_FORMATS = {
    ".jsonl": _Format(_write_lines, _read_lines),
    ".parquet": _Format(_write_parquet, _read_parquet),
}


def _format(file: Path) -> _Format:
    if file.suffix.lower() not in _FORMATS:
        raise UsageError(f"{file} has the suffix {file.suffix or 'none'!r}.", f"Use one of: {', '.join(_FORMATS)}.")
    return _FORMATS[file.suffix.lower()]
