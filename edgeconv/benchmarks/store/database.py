"""The store's file: opening it safely, its schema and the migrations to it.

Many processes may write at once and any of them may be killed: SQLite's write-ahead log with `synchronous=FULL` makes a
run durable before `COMMIT` returns, and readers never wait for a writer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edgeconv.errors import RecordError
from edgeconv.files import user_folder

__all__ = ["APPLICATION_ID", "MIGRATIONS", "default_path", "one_view", "opened", "transaction"]

APPLICATION_ID = 0x65646765  # "edge", in the header of the file: what tells our store from another SQLite file
_BUSY_SECONDS = 30.0
_RETRY_SECONDS = 0.02
_KEEP = "The file was left as it is; name another store by $EDGECONV_HISTORY, or put back a copy of this one."

# One script for each version of the schema, applied to the version before; never edit one that was released.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE runs (
            run_id TEXT PRIMARY KEY,
            started_seconds REAL NOT NULL,  -- since 1970, UTC
            started_at TEXT NOT NULL,
            model TEXT NOT NULL,
            model_sha256 TEXT,
            device TEXT NOT NULL,
            target TEXT NOT NULL,
            machine TEXT NOT NULL,  -- board, else CPU model, else architecture
            emulated INTEGER NOT NULL,
            clock TEXT NOT NULL,
            edgeconv_version TEXT NOT NULL,
            tools TEXT NOT NULL,  -- JSON object: versions
            record BLOB NOT NULL  -- the whole run record: JSON, zlib
        ) STRICT
        """,
        """
        CREATE TABLE results (
            run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            runtime TEXT NOT NULL,
            precision TEXT NOT NULL,
            runtime_version TEXT,
            threads INTEGER NOT NULL,
            mode TEXT NOT NULL,
            artifact_sha256 TEXT NOT NULL,
            valid INTEGER NOT NULL,
            state TEXT,  -- verdict of the device state
            p50_ns INTEGER,
            p50_low_ns INTEGER,
            p50_high_ns INTEGER,
            p90_ns INTEGER,
            peak_rss_bytes INTEGER,
            sqnr_db REAL,  -- of the total drift; infinite where the outputs are identical
            PRIMARY KEY (run_id, position)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX runs_by_model ON runs (model, device, started_seconds)",
        "CREATE INDEX runs_by_hash ON runs (model_sha256)",
        "CREATE INDEX runs_by_time ON runs (started_seconds)",
        "CREATE INDEX results_by_runtime ON results (runtime, precision)",
    ),
    (
        # of the runtime, as asked: "provider=cuda, spinning=off"; runs of before are taken to have none
        "ALTER TABLE results ADD COLUMN options TEXT NOT NULL DEFAULT ''",
    ),
)


def default_path() -> Path:
    """`$EDGECONV_HISTORY`, else `edgeconv/history.sqlite` in `$XDG_DATA_HOME` (by default `~/.local/share`)."""
    if named := os.environ.get("EDGECONV_HISTORY"):
        return Path(named)
    return user_folder("XDG_DATA_HOME", ".local/share") / "history.sqlite"


@contextmanager
def opened(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the store at `path`, brought to this version's schema; with `create`, an absent one is made.

    Raises:
        RecordError: the file is damaged, foreign, of a newer edgeconv, absent (without `create`), or cannot be
            written; every error of SQLite inside the block becomes one too.
    """
    path = path.absolute()
    try:
        _check_file(path, create)
        mode = "rwc" if create else "rw"
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as database:
            _prepare(database, path)
            yield database
    except sqlite3.Error as error:
        raise _told(error, path) from error
    except OSError as error:
        raise RecordError(f"The store {path} cannot be used: {error}.", "Name another by $EDGECONV_HISTORY.") from error


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: committed, and on the disk, when the block ends without an error."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _check_file(path: Path, create: bool) -> None:
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.exists():
        raise RecordError(f"There is no store at {path}.", "edgeconv bench keeps its runs there; so does history add.")
    log = path.with_name(path.name + "-wal")
    if path.exists() and not path.stat().st_size and log.exists() and log.stat().st_size:
        # SQLite would take this for a new database and throw the log away, with the runs that are in it.
        raise RecordError(f"The store {path} is empty but its log {log.name} is not: it was cut off.", _KEEP)


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    version = _version(database, path)
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA foreign_keys=ON")
    if version == len(MIGRATIONS):
        return
    _use_log(database)
    with transaction(database):
        # Another process may have been faster: look again, now that we hold the write lock.
        for script in MIGRATIONS[_version(database, path) :]:
            for statement in script:
                database.execute(statement)
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
        database.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def _version(database: sqlite3.Connection, path: Path) -> int:
    """The version of the schema, 0 for a new file; changes nothing."""
    with one_view(database):  # else another process could make the store between two of these
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise RecordError(f"{path} is an SQLite file of another program.", _KEEP)
    if version > len(MIGRATIONS):
        raise RecordError(
            f"The store {path} has schema version {version}, this edgeconv reads up to {len(MIGRATIONS)}.",
            "Update edgeconv.",
        )
    return int(version)


@contextmanager
def one_view(database: sqlite3.Connection) -> Iterator[None]:
    """All that is read in the block is of one moment."""
    if database.in_transaction:
        yield
        return
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("ROLLBACK")


def _use_log(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, which the file remembers; SQLite's own waiting does not cover this switch."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def _told(error: sqlite3.Error, path: Path) -> RecordError:
    words = str(error)
    if "locked" in words or "busy" in words:
        return RecordError(
            f"The store {path} was in use for {_BUSY_SECONDS:.0f} s; nothing was changed.", "Try again in a moment."
        )
    if "not a database" in words or "malformed" in words:
        return RecordError(f"The store {path} is damaged or no store of ours: {words}.", _KEEP)
    return RecordError(f"The store {path} cannot be used: {words}.", "Nothing was changed; is the disk full or locked?")
