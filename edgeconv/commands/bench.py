"""`edgeconv bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeconv.bundles import Bundle
    from edgeconv.records import RunRecord, Tuning

__all__ = ["bench"]

_Flag = Parameter(negative="", show_default=False)
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
    option: Annotated[tuple[str, ...], _Repeat] = (),
    tune: Annotated[bool, _Flag] = False,
    tuned: Path | None = None,
    min_seconds: float | None = None,
    count: int | None = None,
    rounds: int | None = None,
    sustained: float | None = None,
    burst: int | None = None,
    cool_down: float | None = None,
    metric: str | None = None,
    benchmark_model: Path | None = None,
    clean: Annotated[bool, _Flag] = False,
    history: Annotated[bool, Parameter(show_default=False)] = True,
) -> int:
    """Run a bundle's own agent on a target, in fresh processes that take turns, and write a run record.

    A latency that is not steady, whose rounds disagree or that was taken on a throttled or busy device is measured
    again and then told to be invalid. Example: `edgeconv bench bundles/vessels-host --on local: --json run.json`, then
    `edgeconv check run.json` and `edgeconv report run.json -o report.html`.

    Parameters
    ----------
    bundle
        Bundle directory, or its .zip.
    on
        Where to run: `local:` is this machine; `ssh://[user@]host[:port]`, `adb:SERIAL`, `emulated:pi5` (also pi4,
        orin, android, each with -deterministic).
    json
        Where to write the run record; by default RUN-BUNDLE.json beside the bundle.
    runtime
        Only this runtime; repeat for several.
    precision
        Only this precision; repeat for several.
    threads
        Threads of each runtime (default: 1, or what tuning found).
    option
        Setting of a runtime, like onnxruntime.provider=cuda or litert.xnnpack=off; repeat for several.
    tune
        Try threads and settings on the target first, and measure with what won.
    tuned
        Measure with what `edgeconv tune` wrote to this file.
    min_seconds
        Measure each artefact for at least so long, all rounds together.
    count
        Measure each artefact by a number of inferences alone, not by time: for a board with a virtual clock.
    rounds
        Fresh processes of each artefact (default: 3; with --count, or on an emulated board, 1).
    sustained
        Measure each artefact for so many minutes without a break: what heat does.
    burst
        Measure so many inferences after half a second of rest, again and again: what an app sees that wakes up.
    cool_down
        Before each process wait until the hottest sensor is below so many degrees Celsius.
    metric
        Task metric instead of the bundle's own: a built-in name, file.py:function or package.module:function.
    benchmark_model
        Measure the LiteRT artefacts with this binary of LiteRT's own tool, built for the target, instead of our agent.
    clean
        Remove everything of ours from the target afterwards.
    history
        Keep the run in the history; --no-history does not.
    """
    from edgeconv.benchmarks.live import LiveRun
    from edgeconv.benchmarks.outputs import outputs_path, write_outputs
    from edgeconv.benchmarks.run import new_run_id, run_benchmark, write_record
    from edgeconv.benchmarks.settings import make_settings, parse_options
    from edgeconv.benchmarks.tables import run_table
    from edgeconv.bundles import open_bundle, output_beside
    from edgeconv.errors import UsageError

    settings = make_settings(
        min_seconds=min_seconds, count=count, rounds=rounds, sustained=sustained, burst=burst, cool_down=cool_down
    )
    if benchmark_model is not None and any(asked is not None for asked in (rounds, burst, cool_down)):
        raise UsageError(
            "--rounds, --burst and --cool-down are our agent's; benchmark_model has none of them.", "Leave them out."
        )
    options, terminal, run_id = parse_options(option), Terminal(), new_run_id()
    outputs: dict[tuple[str, str], Mapping[str, Any]] = {}
    with open_bundle(bundle) as opened:
        path = output_beside(bundle, json, "RUN")
        found = _tuned(opened, on, runtime, precision, terminal, tune, tuned)
        model, device = opened.manifest.model.name, opened.manifest.device
        with LiveRun(run_id, model=model, device=device, target=on) as live, terminal.steps("bench") as step:

            def progress(done: int, total: int, description: str) -> None:
                step(done, total, description)
                live.update({"done": done, "total": total, "artifact": description})

            record = run_benchmark(
                opened,
                target=on,
                runtimes=runtime or None,
                precisions=precision or None,
                threads=threads,
                options=options,
                tuned=found,
                settings=settings,
                metric=metric,
                benchmark_model=benchmark_model,
                run_id=run_id,
                clean=clean,
                progress=progress,
                events=live.update,
                keep=outputs.update,
            )
    terminal.console.print(run_table(record))
    if history:
        _keep(record, terminal)
    write_record(record, path)
    write_outputs(outputs_path(path), run_id, outputs)
    terminal.done(str(path))
    return 0


def _tuned(
    bundle: Bundle,
    target: str,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    terminal: Terminal,
    tune: bool,
    path: Path | None,
) -> dict[str, Tuning] | None:
    from edgeconv.benchmarks.tune import read_tuning, tune_bundle
    from edgeconv.errors import UsageError

    if tune and path is not None:
        raise UsageError("--tune tries settings now, --tuned takes those of a file; give one of them.")
    if path is not None:
        found = read_tuning(path).tuned()
        if not {artifact.sha256 for artifact in bundle.manifest.artifacts} & set(found):
            raise UsageError(
                f"{path} is about other artefacts than those of {bundle.manifest.name}.",
                "Tune this bundle: edgeconv tune.",
            )
        return found
    if not tune:
        return None
    with terminal.steps("tune") as step:
        report = tune_bundle(bundle, target, runtimes=runtimes or None, precisions=precisions or None, progress=step)
    return report.tuned()


def _keep(record: RunRecord, terminal: Terminal) -> None:
    """In the history; the record itself is written as well, so a store that cannot be written is only told."""
    from rich.text import Text

    from edgeconv.benchmarks.store import save_run
    from edgeconv.errors import RecordError

    try:
        save_run(record)
    except RecordError as error:
        terminal.console.print(Text.assemble(("Not kept in the history: ", "yellow"), str(error)))
