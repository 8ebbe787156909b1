"""`edgeconv check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal

__all__ = ["check"]


def check(path: Path, /, *, json: Annotated[bool, Parameter(negative="", show_default=False)] = False) -> int:
    """Judge a run record, or a bundle (which is run here first), by the tolerance class of each precision.

    Exit code 0 when everything is within its bounds, 1 when something is not, 2 for bad input.
    Example: `edgeconv check run.json`.

    Parameters
    ----------
    path
        A run record (.json), a bundle directory or its .zip.
    json
        Print the verdict as JSON.
    """
    from edgeconv.benchmarks.run import RunSettings, run_benchmark
    from edgeconv.benchmarks.tables import verdict_table
    from edgeconv.bundles import open_bundle
    from edgeconv.parity.verdict import check_parity
    from edgeconv.records import read_record

    terminal = Terminal(json)
    if path.is_dir() or path.suffix == ".zip":
        with open_bundle(path) as bundle, terminal.steps("run") as progress:
            record = run_benchmark(bundle, settings=RunSettings.quick(), progress=progress)
    else:
        record = read_record(path)
    verdict = check_parity(record)
    if json:
        terminal.print_json(verdict)
    else:
        terminal.console.print(verdict_table(verdict))
    return 0 if verdict.passed else EXIT_FAILED
