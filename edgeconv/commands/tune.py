"""`edgeconv tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from edgeconv.benchmarks.tune import TuningEntry, TuningReport

__all__ = ["tune"]

_Flag = Parameter(negative="", show_default=False)
_Repeat = Parameter(negative="", consume_multiple=False, show_default=False)


def tune(
    bundle: Path,
    /,
    *,
    on: str = "local:",
    runtime: Annotated[tuple[str, ...], _Repeat] = (),
    precision: Annotated[tuple[str, ...], _Repeat] = (),
    seconds: float = 10.0,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Try threads and settings of each runtime on the target, by successive halving.

    A setting replaces the default only when it is certainly faster and its outputs stay within the tolerance class.
    Example: `edgeconv tune bundles/vessels-host --on local: -o tuned.json`, then
    `edgeconv bench bundles/vessels-host --on local: --tuned tuned.json`.

    Parameters
    ----------
    bundle
        Bundle directory, or its .zip.
    on
        Where to run: `local:` is this machine.
    runtime
        Only this runtime; repeat for several.
    precision
        Only this precision; repeat for several.
    seconds
        Seconds of inference for each artefact, all trials together; loading comes on top.
    output
        Where to write what was found; by default TUNED-BUNDLE.json beside the bundle.
    json
        Print the report as JSON, too.
    """
    from edgeconv.benchmarks.tune import tune_bundle, write_tuning
    from edgeconv.bundles import open_bundle

    terminal = Terminal(json)
    with open_bundle(bundle) as opened, terminal.steps("tune") as progress:
        report = tune_bundle(
            opened,
            on,
            runtimes=runtime or None,
            precisions=precision or None,
            seconds=seconds,
            progress=progress,
        )
    path = output or bundle.parent / f"TUNED-{bundle.name.removesuffix('.zip')}.json"
    write_tuning(report, path)
    if json:
        terminal.print_json(report)
    terminal.console.print(_table(report))
    for entry in report.entries:
        for reason in entry.passed_over:
            terminal.console.print(f"{entry.runtime} {entry.precision}: {reason}", style="dim", highlight=False)
    terminal.console.print(f"[green]✓[/] {path}", highlight=False)
    return 0


def _table(report: TuningReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Artefact", overflow="fold")
    table.add_column("settings", overflow="fold")
    table.add_column("median / default", justify="right")
    table.add_column("tried", justify="right")
    for entry in report.entries:
        table.add_row(f"{entry.runtime} {entry.precision}", *_cells(entry))
    return table


def _cells(entry: TuningEntry) -> tuple[str, str, str]:
    if entry.tuning is None:
        return "✗ none runs", "–", "–"
    settings = ", ".join(f"{name}={value}" for name, value in entry.tuning.options.items())
    tried = str(len({tuple(sorted(trial.options.items())) for trial in entry.tuning.trials}))
    if entry.ratio is None:
        return f"{settings} (default)", "–", tried
    return settings, f"{entry.ratio.value:.3f} ({entry.ratio.low:.3f} … {entry.ratio.high:.3f})", tried
