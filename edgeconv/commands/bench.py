"""`edgeconv bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["bench"]

_Repeat = Parameter(negative="", consume_multiple=False, show_default=False)


def bench(
    bundle: Path,
    /,
    *,
    on: str = "local:",
    json: Path | None = None,
    runtime: Annotated[tuple[str, ...], _Repeat] = (),
    precision: Annotated[tuple[str, ...], _Repeat] = (),
    threads: int | None = None,
    min_seconds: float | None = None,
) -> int:
    """Run a bundle's own agent on a target, one fresh process for each artefact, and write a run record.

    Example: `edgeconv bench bundles/vessels-host --on local: --json run.json`, then `edgeconv check run.json` and
    `edgeconv report run.json -o report.html`.

    Parameters
    ----------
    bundle
        Bundle directory, or its .zip.
    on
        Where to run: `local:` is this machine.
    json
        Where to write the run record; by default RUN-<bundle>.json beside the bundle.
    runtime
        Only this runtime; repeat for several.
    precision
        Only this precision; repeat for several.
    threads
        Threads of each runtime (default: 1 on local:).
    min_seconds
        Measure each artefact for at least so long.
    """
    from edgeconv.benchmarks.run import RunSettings, run_benchmark, write_record
    from edgeconv.benchmarks.tables import run_table
    from edgeconv.bundles import open_bundle

    terminal = Terminal()
    settings = RunSettings() if min_seconds is None else RunSettings(min_seconds=min_seconds)
    with open_bundle(bundle) as opened, terminal.steps("bench") as progress:
        record = run_benchmark(
            opened,
            target=on,
            runtimes=runtime or None,
            precisions=precision or None,
            threads=threads,
            settings=settings,
            progress=progress,
        )
    path = json or bundle.parent / f"RUN-{bundle.name.removesuffix('.zip')}.json"
    write_record(record, path)
    terminal.console.print(run_table(record))
    terminal.console.print(f"[green]✓[/] {path}", highlight=False)
    return 0
