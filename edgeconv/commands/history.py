"""`edgeconv history`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from edgeconv.commands.terminal import Terminal

if TYPE_CHECKING:
    import datetime

    from edgeconv.benchmarks.store import StoredRun
    from edgeconv.errors import EdgeconvError

__all__ = ["app"]

_Json = Annotated[bool, Parameter(negative="", show_default=False)]
_Run = Annotated[str, Parameter(show_default=False)]

app = App(
    name="history",
    help="Every run that was kept, with its evidence; how the figures of a model changed.",
    help_epilogue="",
    result_action="return_value",
)


@dataclasses.dataclass(frozen=True)
class _Listed:
    store: str
    runs: list[StoredRun]


@app.default
def list_runs(
    *,
    model: str | None = None,
    device: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    since: str | None = None,
    figure: Literal["p50", "p90", "memory", "drift"] = "p50",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    limit: int = 20,
    store: Path | None = None,
    json: _Json = False,
) -> int:
    """List the runs and, for one model, draw the trend.

    Runs on an emulated machine, or by its virtual clock, never share a trend with others.
    Example: `edgeconv history --model vessels --device raspberry-pi-5`.

    Parameters
    ----------
    model
        Only runs of this model: its name, or the beginning of its weights' SHA-256.
    device
        Only runs for this device profile.
    runtime
        Only results of this runtime.
    precision
        Only results in this precision.
    since
        Only runs that started on this day or later, like 2026-11-20.
    figure
        What the trend is of.
    output
        Write the trend as a page (.html) or a drawing (.svg).
    limit
        How many of the newest runs to list; the trend has all.
    store
        The store's file, by default $EDGECONV_HISTORY or ~/.local/share/edgeconv/history.sqlite.
    json
        Print the runs as JSON.
    """
    from edgeconv.benchmarks.store import default_path, query
    from edgeconv.benchmarks.store.tables import runs_table, trends_table
    from edgeconv.benchmarks.store.trend import FIGURES, trends_of

    terminal, path = Terminal(json), store or default_path()
    wanted = {"model": model, "device": device, "runtime": runtime, "precision": precision}
    runs = query(**wanted, since=_moment(since), path=path) if path.exists() else []
    if not runs and not json:
        kept = query(path=path) if path.exists() else []
        if not kept:
            terminal.console.print(f"No run is kept yet in {path}: edgeconv bench keeps its runs there.", markup=False)
            return 0
        raise _none_of_them(kept, path)
    if json:
        terminal.print_json(_Listed(str(path), runs))
    else:
        if limit > 0:
            more = f", the newest {limit}" if len(runs) > limit else ""
            terminal.console.print(f"{len(runs)} runs in {path}{more}:", markup=False, highlight=False)
            terminal.console.print(runs_table(runs[-limit:]), "")
        if model is not None:
            terminal.console.print(trends_table(trends_of(runs, FIGURES[figure]), FIGURES[figure]))
    if output is not None:
        from edgeconv.benchmarks.report.trend import write_trend

        write_trend(runs, FIGURES[figure], output)
        terminal.done(str(output))
    return 0


@app.command
def show(run: _Run, /, *, store: Path | None = None, json: _Json = False) -> int:
    """Show one run.

    Parameters
    ----------
    run
        Its id, or the beginning of it.
    store
        The store's file.
    json
        Print the run record as JSON.
    """
    from edgeconv.benchmarks.store import find_run
    from edgeconv.benchmarks.tables import run_table

    terminal, record = Terminal(json), find_run(run, store)
    if json:
        terminal.print_json(record)
    else:
        terminal.console.print(run_table(record))
    return 0


@app.command
def add(*runs: Path, store: Path | None = None) -> int:
    """Keep run records that are files, all or none.

    Parameters
    ----------
    runs
        Files that `edgeconv bench --json` wrote.
    store
        The store's file; it is made where there is none.
    """
    from edgeconv.benchmarks.store import default_path, save_runs
    from edgeconv.errors import UsageError
    from edgeconv.records import read_record

    if not runs:
        raise UsageError("No run record was named.", "For example: edgeconv history add run.json")
    path = store or default_path()
    added = save_runs([read_record(run) for run in runs], path)
    _tell(added, len(runs) - added, path)
    return 0


@app.command(name="export")
def export_runs(file: Path, /, *, store: Path | None = None) -> int:
    """Write every run to a file: .jsonl has one run record a line, .parquet one row a run for data frames.

    Parameters
    ----------
    file
        A file whose suffix is .jsonl or .parquet.
    store
        The store's file.
    """
    from edgeconv.benchmarks.store import export_runs as write

    count = write(file, store)
    Terminal().done(f"{count} runs in {file}")
    return 0


@app.command(name="import")
def import_runs(file: Path, /, *, store: Path | None = None) -> int:
    """Keep every run of a file that `edgeconv history export` wrote, all or none.

    Parameters
    ----------
    file
        A file whose suffix is .jsonl or .parquet.
    store
        The store's file; it is made where there is none.
    """
    from edgeconv.benchmarks.store import default_path
    from edgeconv.benchmarks.store import import_runs as read

    path = store or default_path()
    found = read(file, path)
    _tell(found.added, found.known, path)
    return 0


@app.command
def remove(run: _Run, /, *, store: Path | None = None) -> int:
    """Remove one run for good.

    Parameters
    ----------
    run
        Its id, or the beginning of it.
    store
        The store's file.
    """
    from edgeconv.benchmarks.store import remove_run

    Terminal().console.print(f"Run {remove_run(run, store)} was removed.", markup=False, highlight=False)
    return 0


def _tell(added: int, known: int, path: Path) -> None:
    again = f", {known} were there already" if known else ""
    Terminal().done(f"{added} runs were added to {path}{again}")


def _moment(since: str | None) -> datetime.datetime | None:
    from edgeconv.benchmarks.store.index import instant
    from edgeconv.errors import UsageError

    try:
        return None if since is None else instant(since)
    except ValueError as error:
        raise UsageError(f"--since {since!r} is no date.", "Write it like 2026-11-20.") from error


def _none_of_them(kept: list[StoredRun], path: Path) -> EdgeconvError:
    """What a user who asked for runs that are not there wants to know."""
    from edgeconv.errors import RecordError

    models, devices = (sorted({getattr(run, name) for run in kept}) for name in ("model", "device"))
    there = f"Models: {', '.join(models)}. Devices: {', '.join(devices)}."
    return RecordError(f"None of the {len(kept)} runs in {path} is of that kind.", there)
