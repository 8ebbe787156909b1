"""`edgeconv tune`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from edgeconv.benchmarks.tune import TuningEntry, TuningReport
    from edgeconv.bundles import Bundle
    from edgeconv.export.variants import GraphTuning
    from edgeconv.export.variants.command import TuneGraphs

__all__ = ["tune"]

_LOCAL, _SECONDS = "local:", 10.0
_Flag = Parameter(negative="", show_default=False)
_Repeat = Parameter(negative="", consume_multiple=False, show_default=False)


def tune(
    bundle: Path,
    /,
    *,
    on: str = _LOCAL,
    runtime: Annotated[tuple[str, ...], _Repeat] = (),
    precision: Annotated[tuple[str, ...], _Repeat] = (),
    seconds: float = _SECONDS,
    graphs: Annotated[bool, _Flag] = False,
    cost_model: Annotated[bool, _Flag] = False,
    calibration: str | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Try threads and settings of each runtime on the target, by successive halving, and other graphs of the model.

    A setting or a graph replaces the default only when it is certainly faster and its outputs stay within the tolerance
    class. Example: `edgeconv tune bundles/vessels-host --on local: -o tuned.json`, then
    `edgeconv bench bundles/vessels-host --on local: --tuned tuned.json`. With `--graphs` a recipe is written, too:
    `edgeconv export vessels --device host --recipe tuned-recipe.json` makes the bundle with the better graph.

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
    graphs
        Also make other graphs from the bundle's own and measure them in turns with it: gates in fewer bytes, pairs of
        convolutions merged. One recipe for all artefacts named comes of it; of int8 ones, where none is named.
    cost_model
        Measure nothing: decide about the graphs by a cost model (multiplications and bytes moved), and say so.
    calibration
        What to calibrate other graphs with, as in `edgeconv export`; a built-in task brings its own.
    output
        Where to write what was found; by default TUNED-BUNDLE.json beside the bundle, ESTIMATED-BUNDLE.json with
        --cost-model. A better graph's recipe is beside it, NAME-recipe.json.
    json
        Print the report as JSON, too.
    """
    from edgeconv.benchmarks.tune import tune_bundle, write_tuning
    from edgeconv.bundles import open_bundle, output_beside
    from edgeconv.errors import UsageError
    from edgeconv.files import atomic_write_bytes
    from edgeconv.schema import to_json

    if calibration is not None and not (graphs or cost_model):
        raise UsageError("--calibration is for other graphs of the model.", "Add --graphs or --cost-model.")
    if cost_model and (on, seconds) != (_LOCAL, _SECONDS):
        raise UsageError(
            "--cost-model measures nothing, so --on and --seconds mean nothing to it.", "Measure with --graphs instead."
        )
    terminal = Terminal(json)
    with open_bundle(bundle) as opened, terminal.steps("tune") as progress:
        path = output_beside(bundle, output, "ESTIMATED" if cost_model else "TUNED")
        recipe = path.with_name(f"{path.stem}-recipe.json")
        others = _open_graphs(opened, calibration, runtime, precision) if graphs or cost_model else None
        if others is not None and cost_model:
            estimated = others.estimate(recipe)
        else:
            report = tune_bundle(
                opened,
                on,
                runtimes=runtime or None,
                precisions=precision or None,
                seconds=seconds,
                progress=progress,
            )
            if others is not None:
                report = dataclasses.replace(report, graphs=others.measure(on, seconds, progress, recipe))
    if others is not None and cost_model:
        atomic_write_bytes(path, to_json(estimated).encode())
        if json:
            terminal.print_json(estimated)
        _print_graphs(terminal, estimated, recipe)
        terminal.done(str(path))
        return 0
    write_tuning(report, path)
    if json:
        terminal.print_json(report)
    terminal.console.print(_table(report))
    for entry in report.entries:
        for reason in entry.passed_over:
            terminal.console.print(f"{entry.runtime} {entry.precision}: {reason}", style="dim", highlight=False)
    if report.graphs is not None:
        _print_graphs(terminal, report.graphs, recipe)
    terminal.done(str(path))
    return 0


def _open_graphs(
    bundle: Bundle, calibration: str | None, runtimes: tuple[str, ...], precisions: tuple[str, ...]
) -> TuneGraphs:
    from edgeconv.export.variants.command import TuneGraphs

    return TuneGraphs(bundle, calibration, runtimes, precisions)


def _print_graphs(terminal: Terminal, tuning: GraphTuning, recipe: Path) -> None:
    from edgeconv.export.variants.table import graphs_table

    terminal.console.print(graphs_table(tuning))
    if tuning.changed:
        terminal.done(str(recipe))
    else:
        terminal.console.print("The bundle's own graph is kept.", highlight=False)


def _table(report: TuningReport) -> Table:
    from edgeconv.tables import plain_table

    table = plain_table()
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
