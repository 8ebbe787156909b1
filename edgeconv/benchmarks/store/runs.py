"""Runs in the store: keeping one, finding it again, asking for many."""

from __future__ import annotations

import dataclasses
import datetime
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeconv.benchmarks.store.database import default_path, one_view, opened, transaction
from edgeconv.benchmarks.store.index import (
    StoredResult,
    StoredRun,
    record_text,
    result_row,
    run_row,
    seconds,
    storable_id,
)
from edgeconv.errors import RecordError
from edgeconv.records import RunRecord, parse_record, read_record

__all__ = [
    "find_run",
    "query",
    "read_run",
    "records",
    "remove_run",
    "save_run",
    "save_runs",
]

_SHOWN = 5  # run ids named in a message


_RUN_COLUMNS = tuple(field.name for field in dataclasses.fields(StoredRun) if field.name != "results")


def save_run(record: RunRecord, path: Path | None = None) -> Path:
    """Keep a run; when this returns it is on the disk.  Keeping the same run again changes nothing.

    Returns:
        The store's file.

    Raises:
        RecordError: a different run of the same id is kept already, or the store cannot be written.
    """
    path = path or default_path()
    save_runs([record], path)
    return path


def save_runs(found: Sequence[RunRecord], path: Path | None = None) -> int:
    """Keep all of these runs or, when one of them cannot be kept, none; returns how many were new."""
    with opened(path or default_path(), create=True) as database, transaction(database):
        return sum([_insert(database, record) for record in found])


def find_run(name: str, path: Path | None = None) -> RunRecord:
    """The run whose id is `name` or, if it is the only one, begins with it.

    Raises:
        RecordError: none or several do, or there is no store.
    """
    with opened(path or default_path()) as database:
        return _decoded(database, _the_one(database, name))


def read_run(name: str, path: Path | None = None) -> RunRecord:
    """A run by the file of its record, else by its id in the store.

    Raises:
        RecordError: it is neither, or the record is damaged.
    """
    file = Path(name)
    if file.exists() or file.suffix == ".json":
        return read_record(file)
    try:
        return find_run(name, path)
    except RecordError as error:
        raise RecordError(f"{name} is no file. {error.message}", error.hint) from error


def remove_run(name: str, path: Path | None = None) -> str:
    """Remove the run that `find_run` would give; returns its id."""
    with opened(path or default_path()) as database, transaction(database):
        run_id = _the_one(database, name)
        database.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
        return run_id


def query(
    *,
    model: str | None = None,
    device: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    since: datetime.datetime | None = None,
    path: Path | None = None,
) -> list[StoredRun]:
    """Runs in the order of their start.

    Args:
        model: name, or the beginning (8 digits or more) of the SHA-256 of its weights.
        device: the profile's name.
        runtime: only results of this runtime; runs without such a result are left out, likewise for `precision`.
        precision: "fp32", "fp16" or "int8".
        since: only runs that started then or later; UTC where it names no zone.
        path: the store, by default `default_path()`.

    Raises:
        RecordError: there is no store, or it is damaged.
    """
    conditions = {
        "model": "(runs.model = :model OR length(:model) >= 8 AND instr(runs.model_sha256, :model) = 1)",
        "device": "runs.device = :device",
        "runtime": "results.runtime = :runtime",
        "precision": "results.precision = :precision",
        "since": "runs.started_seconds >= :since",
    }
    moment = None if since is None else seconds(since)
    wanted = {"model": model, "device": device, "runtime": runtime, "precision": precision, "since": moment}
    where = " AND ".join(text for name, text in conditions.items() if wanted[name] is not None) or "true"
    of_results = [field.name for field in dataclasses.fields(StoredResult)]
    columns = ", ".join([f"runs.{name}" for name in _RUN_COLUMNS] + [f"results.{name}" for name in of_results])
    statement = (
        f"SELECT {columns} FROM runs LEFT JOIN results USING (run_id) WHERE {where} "
        "ORDER BY runs.started_seconds, runs.run_id, results.position"
    )
    with opened(path or default_path()) as database:
        rows = database.execute(statement, wanted).fetchall()
    runs: dict[str, StoredRun] = {}
    for row in rows:
        of_run, figures = row[: len(_RUN_COLUMNS)], row[len(_RUN_COLUMNS) :]
        if row[0] not in runs:
            runs[row[0]] = _stored_run(of_run)
        if figures[0] is not None:  # a run without results has a row of nothing
            found = StoredResult(*figures)
            runs[row[0]].results.append(dataclasses.replace(found, valid=bool(found.valid)))
    return list(runs.values())


def records(path: Path | None = None) -> Iterator[RunRecord]:
    """Every run in the order of its start, one at a time, as the store is when it begins."""
    with opened(path or default_path()) as database, one_view(database):
        names = database.execute("SELECT run_id FROM runs ORDER BY started_seconds, run_id").fetchall()
        for (run_id,) in names:
            yield _decoded(database, run_id)


def _stored_run(row: Sequence[Any]) -> StoredRun:
    values = dict(zip(_RUN_COLUMNS, row, strict=True))
    values |= {"emulated": bool(values["emulated"]), "tools": json.loads(values["tools"])}
    return StoredRun(**values, results=[])


def _insert(database: sqlite3.Connection, record: RunRecord) -> bool:
    """Whether it was new."""
    text = record_text(record)
    kept = parse_record(text, f"run {record.run_id}")  # nothing is kept that could not be read again
    if database.execute("SELECT 1 FROM runs WHERE run_id = ?", (storable_id(record.run_id),)).fetchone():
        if _decoded(database, record.run_id) == kept:
            return False
        raise RecordError(f"A different run with the id {record.run_id} is kept already; it was not replaced.")
    try:
        run, results = run_row(record, text), [result_row(result) for result in record.results]
        database.execute(f"INSERT INTO runs VALUES ({_marks(run)})", run)
        for position, row in enumerate(results):
            database.execute(f"INSERT INTO results VALUES (?, ?, {_marks(row)})", (record.run_id, position, *row))
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise RecordError(f"Run {record.run_id!a} cannot be kept: {error}.") from error
    return True


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _the_one(database: sqlite3.Connection, name: str) -> str:
    """The id that is `name`, or the only one that begins with it."""
    if not name.isprintable():  # nor would a lone surrogate be text to SQLite
        raise RecordError(f"No run in the store is called {name!a}.")
    if database.execute("SELECT 1 FROM runs WHERE run_id = ?", (name,)).fetchone():
        return name
    rows = database.execute(
        "SELECT run_id FROM runs WHERE substr(run_id, 1, length(?1)) = ?1 ORDER BY started_seconds DESC", (name,)
    ).fetchall()
    found = [run_id for (run_id,) in rows]
    if len(found) == 1 and name:
        return str(found[0])
    if found and name:
        shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise RecordError(f"{len(found)} runs begin with {name!r}: {shown}.", "Give more of the id.")
    newest = database.execute("SELECT run_id FROM runs ORDER BY started_seconds DESC LIMIT ?", (_SHOWN,)).fetchall()
    hint = f"The newest are: {', '.join(run_id for (run_id,) in newest)}." if newest else "The store has no runs."
    raise RecordError(f"No run in the store is called {name!r}.", hint)


def _decoded(database: sqlite3.Connection, run_id: str) -> RunRecord:
    (blob,) = database.execute("SELECT record FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    try:
        text = zlib.decompress(blob).decode("ascii")
    except (zlib.error, UnicodeDecodeError) as error:
        raise RecordError(f"The record of run {run_id} is damaged in the store: {error}.") from error
    return parse_record(text, f"run {run_id}")
