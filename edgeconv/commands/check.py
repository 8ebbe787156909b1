"""`edgeconv check`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal

if TYPE_CHECKING:
    from edgeconv.bundles import Bundle
    from edgeconv.parity.verdict import Verdict
    from edgeconv.records import RunRecord

__all__ = ["check"]

_HERE = "local:"
_Flag = Parameter(negative="", show_default=False)
_Repeat = Parameter(negative="", consume_multiple=False, show_default=False)


def check(
    path: Path,
    /,
    *,
    bundle: Path | None = None,
    on: str = _HERE,
    tolerance: Annotated[tuple[str, ...], _Repeat] = (),
    metric: str | None = None,
    locate: Annotated[bool | None, Parameter(show_default=False)] = None,
    model: str | None = None,
    weights: Path | None = None,
    save: Path | None = None,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Judge a run record, or a bundle (which is run first), by the tolerance class of each precision.

    NaN, infinity, wrong shapes and dtypes fail before any figure. Of a bundle that fails it is also told where it first
    breaks: which operator, of which module. Exit code 0 when everything is within its bounds, 1 when something is not,
    2 for bad input. Examples: `edgeconv check run.json`, `edgeconv check run.json --bundle bundles/vessels-host`.

    Parameters
    ----------
    path
        A run record (.json), a bundle directory or its .zip.
    bundle
        The bundle that the run record is of: its own tolerances count, and its layers can be looked into.
    on
        Where a bundle is run; `local:` is this machine.
    tolerance
        Another bound, like int8.total_min_sqnr_db=28, or =none to leave it unjudged; repeat for several.
    metric
        Task metric of a bundle's run instead of its own: a built-in name, file.py:function or package.module:function.
    locate
        Look for the first broken layer, also where nothing fails; --no-locate never does (default: on failure).
    model
        What the bundle was exported from, as for `edgeconv export`: needed to look into the export itself.
    weights
        Its weights, likewise.
    save
        Write the run record with the drift of the layers that were looked at, for `edgeconv report`.
    json
        Print the verdict as JSON.
    """
    from edgeconv.benchmarks.run import run_benchmark, write_record
    from edgeconv.benchmarks.settings import RunSettings
    from edgeconv.bundles import open_bundle
    from edgeconv.errors import UsageError
    from edgeconv.files import check_writable
    from edgeconv.parity.breaks import find_breaks, with_layers
    from edgeconv.parity.tolerance import override_tolerances
    from edgeconv.parity.verdict import check_parity
    from edgeconv.records import read_record

    override_tolerances((), tolerance)  # a wrong one is told before anything is run
    terminal = Terminal(json)
    is_bundle = path.is_dir() or path.suffix == ".zip"
    if is_bundle and bundle is not None:
        raise UsageError(f"{path} is a bundle itself; --bundle goes with a run record.", "Leave --bundle out.")
    if metric is not None and not is_bundle:
        raise UsageError("--metric needs a bundle to run.", "Give it to `edgeconv bench`, or check the bundle.")
    if not is_bundle and (on != _HERE or (bundle is None and (model is not None or weights is not None))):
        raise UsageError(
            "--on is for a bundle, which is run there; --model and --weights are to look into one.",
            "Name the bundle instead of the record, or leave them out.",
        )
    source = path if is_bundle else bundle
    if source is None:
        if save is not None or locate:
            raise UsageError("The layers of a record are those of its bundle.", "Give it: --bundle DIRECTORY.")
        verdict = check_parity(read_record(path), override_tolerances((), tolerance))
        return _show(verdict, terminal, json)
    if save is not None:
        check_writable(save)
    with open_bundle(source) as opened:
        if is_bundle:
            with terminal.steps("run") as progress:
                record = run_benchmark(opened, on, settings=RunSettings.quick(), metric=metric, progress=progress)
        else:
            record = _of_bundle(read_record(path), path, opened)
        verdict = check_parity(record, override_tolerances(opened.manifest.tolerances, tolerance), metric)
        verdict = dataclasses.replace(verdict, notes=[*verdict.notes, *_metric_note(opened, metric)])
        if locate or (locate is None and not verdict.passed):
            with terminal.stages("locate") as stage:
                breaks = find_breaks(opened, record, verdict, model=model, weights=weights, progress=stage)
            verdict = dataclasses.replace(verdict, breaks=breaks)
        if save is not None:
            write_record(with_layers(record, verdict.breaks), save)
    return _show(verdict, terminal, json)


def _show(verdict: Verdict, terminal: Terminal, json: bool) -> int:
    from edgeconv.benchmarks.tables import verdict_table

    if json:
        terminal.print_json(verdict)
    else:
        terminal.console.print(verdict_table(verdict))
    return 0 if verdict.passed else EXIT_FAILED


def _of_bundle(record: RunRecord, path: Path, bundle: Bundle) -> RunRecord:
    from edgeconv.errors import RecordError

    if record.manifest_sha256 != bundle.manifest_sha256:
        raise RecordError(
            f"{path} is a run of another bundle ({record.bundle}) than {bundle.manifest.name} as it is now.",
            "Give the bundle that was run, unchanged.",
        )
    return record


def _metric_note(bundle: Bundle, chosen: str | None) -> list[str]:
    from edgeconv.parity.metrics import is_user_code

    named = bundle.manifest.metric
    if chosen is not None or named is None or not is_user_code(named):
        return []
    return [
        f"The bundle's task metric is code, {named!r}, which a bundle may not run: name it with --metric to use it."
    ]
