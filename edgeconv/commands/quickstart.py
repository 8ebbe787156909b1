"""`edgeconv quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal

__all__ = ["quickstart"]


def quickstart(
    *,
    task: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (
        "vessels",
        "deblur",
    ),
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("demo"),
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Take the trained demo models the whole way: bundles, a benchmark on this machine, verdict and report.html.

    Example: `edgeconv quickstart`. A few minutes, no network.

    Parameters
    ----------
    task
        Built-in task; repeat for several. By default vessels and deblur.
    output
        Folder for bundles, run records and report.
    force
        Replace what an earlier quickstart left there.
    """
    from edgeconv.benchmarks.report import write_report
    from edgeconv.benchmarks.run import run_benchmark, write_record
    from edgeconv.benchmarks.tables import run_table, verdict_table
    from edgeconv.bundles import load_bundle
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.pipeline import build_bundle
    from edgeconv.parity.verdict import check_parity

    terminal = Terminal()
    records, bundles, passed = [], [], True
    for name in task:
        with terminal.stages(f"export {name}") as stage:
            result = build_bundle(ExportOptions(model=name, output=output, force=force), stage)
        bundle = load_bundle(Path(result.bundles[0].path))
        with terminal.steps(f"bench {name}") as step:
            record = run_benchmark(bundle, progress=step)
        write_record(record, output / f"{name}.json")
        verdict = check_parity(record)
        terminal.console.print(run_table(record))
        terminal.console.print(verdict_table(verdict))
        records.append(record)
        bundles.append(bundle)
        passed = passed and verdict.passed
    report = output / "report.html"
    write_report(records, report, bundles)
    terminal.done(str(report))
    return 0 if passed else EXIT_FAILED
