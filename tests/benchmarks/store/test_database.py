from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.benchmarks.store import database, find_run, query, save_run, save_runs
from edgeconv.errors import RecordError
from edgeconv.records import RunRecord

_Records = Callable[..., RunRecord]

# Prints the id of each run once `save_run` has returned.
_WRITER = """
import dataclasses, itertools, sys
from pathlib import Path
from edgeconv.benchmarks.store import save_run
from edgeconv.records import read_record
template, store, name, count = read_record(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
print("ready", flush=True)
for index in range(count) if count else itertools.count():
    save_run(dataclasses.replace(template, run_id=f"{name}-{index}"), store)
    print(f"{name}-{index}", flush=True)
"""


def _writer(template: Path, store: Path, name: str, count: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", _WRITER, str(template), str(store), name, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _integrity(store: Path) -> str:
    connection = sqlite3.connect(store)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_writers_at_once_lose_no_run_that_was_reported_as_saved(
    make_record: _Records, store: Path, write_json: Callable[[RunRecord], Path]
) -> None:
    template = write_json(make_record())
    writers = [_writer(template, store, f"w{n}", 12) for n in range(6)]  # all of them make the store
    reported = []
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err
        reported += out.split()[1:]
    assert sorted(run.run_id for run in query(path=store)) == sorted(reported)
    assert len(reported) == 6 * 12
    assert _integrity(store) == "ok"


def test_killed_writers_lose_no_run_that_was_reported_as_saved(
    make_record: _Records, store: Path, write_json: Callable[[RunRecord], Path]
) -> None:
    template, reported = write_json(make_record()), []
    for round_ in range(12):
        writers = [_writer(template, store, f"r{round_}-{n}") for n in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        time.sleep(0.015 * round_)  # killed at another moment each time, in the making of the store too
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            out, _ = writer.communicate(timeout=60)
            # A line without its end was not reported: the kill came while it was printed.
            reported += [line.strip() for line in out.splitlines(keepends=True) if line.endswith("\n")]
    assert len(reported) > 12
    assert _integrity(store) == "ok"
    kept = {run.run_id for run in query(path=store)}
    assert set(reported) <= kept
    assert all(find_run(name, store).run_id == name for name in reported[::7])


def test_newer_schema_is_refused_and_the_file_left_as_it_was(make_record: _Records, store: Path) -> None:
    save_run(make_record(), store)
    _execute(store, f"PRAGMA user_version={len(database.MIGRATIONS) + 1}")
    before = store.read_bytes()
    with pytest.raises(RecordError, match=r"schema version 3, this edgeconv reads up to 2\. Update edgeconv"):
        save_run(make_record("b"), store)
    assert store.read_bytes() == before


def test_sqlite_file_of_another_program_is_refused_and_left_as_it_was(make_record: _Records, store: Path) -> None:
    _execute(store, "CREATE TABLE bookmarks (url TEXT)")
    before = store.read_bytes()
    for use in (lambda: save_run(make_record(), store), lambda: query(path=store)):
        with pytest.raises(RecordError, match=r"another program.*EDGECONV_HISTORY"):
            use()
    assert store.read_bytes() == before


def test_file_that_is_no_database_is_refused_and_left_as_it_was(make_record: _Records, store: Path) -> None:
    store.write_text("not a database " * 100)
    with pytest.raises(RecordError, match="damaged or no store"):
        save_run(make_record(), store)
    assert store.read_text() == "not a database " * 100


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_store_is_refused_and_left_as_it_was(make_record: _Records, store: Path, kept: float) -> None:
    save_runs([make_record(f"run-{n}") for n in range(40)], store)
    whole = store.read_bytes()
    store.write_bytes(whole[: int(len(whole) * kept)])
    before = store.read_bytes()
    for use in (lambda: save_run(make_record("new"), store), lambda: query(path=store)):
        with pytest.raises(RecordError, match=r"damaged .*put back a copy"):
            use()
    assert store.read_bytes() == before


def test_store_cut_to_nothing_beside_its_log_is_refused(make_record: _Records, store: Path) -> None:
    holder = sqlite3.connect(store)  # keeps the log alive
    try:
        save_run(make_record(), store)
        holder.execute("SELECT count(*) FROM runs").fetchone()
        save_run(make_record("b"), store)
        log = store.with_name(store.name + "-wal").read_bytes()
    finally:
        holder.close()
    store.with_name(store.name + "-wal").write_bytes(log)
    store.write_bytes(b"")
    with pytest.raises(RecordError, match="it was cut off"):
        save_run(make_record("c"), store)
    assert store.with_name(store.name + "-wal").read_bytes() == log


def test_store_that_cannot_be_opened_is_a_clear_error(make_record: _Records, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be used"):
        save_run(make_record(), tmp_path)  # a directory
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be used"):
        save_run(make_record(), tmp_path / "file" / "history.sqlite")


def test_locked_store_is_told_after_a_bounded_wait(
    make_record: _Records, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_run(make_record(), store)
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    holder = sqlite3.connect(store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(RecordError, match="was in use for"):
            save_run(make_record("b"), store)
        assert len(query(path=store)) == 1  # readers do not wait
    finally:
        holder.close()
    save_run(make_record("b"), store)


def test_older_store_is_migrated_with_its_runs(
    make_record: _Records, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_run(make_record(), store)
    newer = (*database.MIGRATIONS, ("ALTER TABLE results ADD COLUMN note TEXT", "UPDATE results SET note = 'x'"))
    monkeypatch.setattr(database, "MIGRATIONS", newer)
    assert query(path=store)[0].run_id == "run-1"
    assert _execute(store, "PRAGMA user_version") == [(len(newer),)]
    assert _execute(store, "SELECT note FROM results") == [("x",)]


def test_migration_that_fails_leaves_the_older_store(
    make_record: _Records, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_run(make_record(), store)
    broken = (*database.MIGRATIONS, ("ALTER TABLE results ADD COLUMN note TEXT", "UPDATE absent SET x = 1"))
    with monkeypatch.context() as patched:
        patched.setattr(database, "MIGRATIONS", broken)
        with pytest.raises(RecordError, match="no such table: absent"):
            query(path=store)
    assert find_run("run-1", store) == make_record()


def _execute(store: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(store)
    try:
        found = connection.execute(statement).fetchall()
        connection.commit()
        return found
    finally:
        connection.close()


def test_a_store_of_the_first_schema_is_brought_along_with_its_runs(make_record: _Records, store: Path) -> None:
    for statement in database.MIGRATIONS[0]:
        _execute(store, statement)
    _execute(store, f"PRAGMA application_id={database.APPLICATION_ID}")
    _execute(store, "PRAGMA user_version=1")
    of_run = "'old', 0, '2026-01-01', 'm', NULL, 'host', 'local:', 'x', 0, 'wall', '0', '{}', x'00'"
    _execute(store, f"INSERT INTO runs VALUES ({of_run})")
    of_result = "'old', 0, 'litert', 'int8', NULL, 1, 'steady', '0', 1, NULL" + ", NULL" * 6
    _execute(store, f"INSERT INTO results VALUES ({of_result})")
    save_run(make_record("new"), store)
    assert [[result.options for result in run.results] for run in query(path=store)] == [[""], [""]]
