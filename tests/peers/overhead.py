"""What the harness itself costs, and whether its medians are those of the runtimes' own tools.

Two figures of a session that does nothing but spin for 5 ms: what lies between the two readings of the clock besides
the session, and what lies between two inferences. Then the same model with the same threads by us and by OpenVINO's
benchmark_app and LiteRT's litert-benchmark, turn by turn. Written to docs/overhead.md when the machine was quiet. Exit
code 1 when a bound is not met, 2 when the machine is busy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import QUIET_CORES, CpuWatch, describe_machine, foreign_cores_now
from rich.console import Console
from rich.table import Table

from edgeconv.benchmarks.agent.progress import Progress
from edgeconv.benchmarks.agent.protocol import LatencyProtocol, Sampling, collector_off, take_samples, warm_up
from edgeconv.benchmarks.agent.sampler import Sampler
from edgeconv.benchmarks.agent.usage import read_usage
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import Artifact, read_manifest

_ROOT = Path(__file__).resolve().parents[2]
_SPIN_NS = 5_000_000
_NOOP_SECONDS, _PAIRED_SECONDS, _PAIRS = 15.0, 3.0, 6
_MAX_OVERHEAD, _MAX_DIFFERENCE = 0.01, 0.02
# As edgeconv itself does it: openvino sends an event on import unless it cannot find its telemetry package.
_BENCHMARK_APP = (
    "import sys; sys.modules['openvino_telemetry'] = None; from openvino.tools.benchmark.main import main; main()"
)

console = Console(width=None if sys.stdout.isatty() else 120)


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure with its bound; a share or a relative difference."""

    what: str
    value: float
    spread: str
    limit: float

    @property
    def met(self) -> bool:
        return abs(self.value) <= self.limit


def main() -> int:
    options = _options()
    busy = foreign_cores_now()
    if busy > QUIET_CORES and not options.anyway:
        console.print(f"Other processes use {busy:.2f} cores: figures would be worth nothing. Wait, or use --anyway.")
        return 2
    watch = CpuWatch()
    rows = [*_noop(), *_tools(options.bundle)]
    quiet = max(busy, watch.foreign_cores()) <= QUIET_CORES
    table = Table("figure", "measured", "spread", "limit", "", box=None)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    if quiet:
        atomic_write_bytes(options.document, _page(rows).encode())
        console.print(f"✓ {options.document}", highlight=False)
    else:
        console.print(f"The machine was busy: {options.document} is left as it was.")
    return 0 if all(row.met for row in rows) else 1


class _Spin:
    """5 ms without sleep, and how long it really was by its own clock."""

    def __init__(self) -> None:
        self.own: list[int] = []

    def run(self, inputs: list[object]) -> list[object]:
        start = time.perf_counter_ns()
        end = start
        while end - start < _SPIN_NS:
            end = time.perf_counter_ns()
        self.own.append(end - start)
        return inputs


def _noop() -> list[Row]:
    """With everything that runs beside a real measurement: progress lines and the sampler in a second process."""
    spin, protocol = _Spin(), LatencyProtocol(min_seconds=_NOOP_SECONDS, extra_seconds=0.0)
    with open("/dev/null", "w", encoding="ascii") as null, Sampler() as sampler:
        sampling = Sampling(spin.run, [None], report=Progress(null))
        with collector_off():
            warm_up(sampling, protocol)
            spin.own.clear()
            began, usage = time.perf_counter_ns(), read_usage()
            timed = take_samples(sampling, protocol).timed
            wall, used = time.perf_counter_ns() - began, read_usage() - usage
        state = sampler.finish(used, len(timed))
    added = [sample - own for sample, own in zip(timed, spin.own, strict=True)]
    inside = statistics.median(added) / _SPIN_NS
    worst = sorted(added)[int(0.99 * len(added))] / _SPIN_NS
    between = (wall - sum(timed)) / sum(timed)
    count = f"{len(timed)} inferences, {len(state.samples)} looks at the device"
    return [
        Row("added to each inference of 5 ms", inside, f"p99 {worst:.4%}; {count}", _MAX_OVERHEAD),
        Row("time between two inferences of 5 ms", between, count, _MAX_OVERHEAD),
    ]


def _tools(bundle: Path) -> list[Row]:
    tools = {"openvino": ("OpenVINO benchmark_app", _openvino), "litert": ("LiteRT litert-benchmark", _litert)}
    rows = []
    for artifact in read_manifest(bundle).artifacts:
        if artifact.runtime not in tools or artifact.precision == "fp16":
            continue
        name, tool = tools[artifact.runtime]
        pairs = [_pair(bundle, artifact, tool, ours_first=number % 2 == 0) for number in range(_PAIRS)]
        ratios = [ours / theirs for ours, theirs in pairs]
        typical = statistics.median(ours for ours, _ in pairs)
        spread = f"{min(ratios) - 1:+.1%} … {max(ratios) - 1:+.1%} over {_PAIRS} pairs at {typical:.2f} ms"
        what = f"{artifact.runtime} {artifact.precision}: our median against {name}"
        rows.append(Row(what, statistics.median(ratios) - 1, spread, _MAX_DIFFERENCE))
    return rows


def _pair(bundle: Path, artifact: Artifact, tool: Callable[[Path], float], *, ours_first: bool) -> tuple[float, float]:
    """Milliseconds by us and by the tool, one right after the other."""
    ours = _edgeconv(bundle, artifact) if ours_first else None
    theirs = tool(bundle / artifact.path)
    ours = _edgeconv(bundle, artifact) if ours is None else ours
    console.print(f"{artifact.runtime} {artifact.precision}: {ours:.3f} ms, its own tool {theirs:.3f} ms")
    return ours, theirs


def _edgeconv(bundle: Path, artifact: Artifact) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", "edgeconv.benchmarks.agent", "run", "--bundle", bundle, "--json", path]
        command += ["--runtime", artifact.runtime, "--precision", artifact.precision]
        _run([*command, "--min-seconds", _PAIRED_SECONDS, "--extra-seconds", 0])
        return json.loads(path.read_text())["latency_ns"]["p50"] / 1e6


def _openvino(model: Path) -> float:
    flags = ["-m", model, "-d", "CPU", "-api", "sync", "-infer_precision", "f32", "-t", round(_PAIRED_SECONDS)]
    # With -hint none the tool lets the number of threads be given; one stream is what the latency hint gives.
    told = _run([sys.executable, "-c", _BENCHMARK_APP, *flags, "-hint", "none", "-nthreads", 1, "-nstreams", 1])
    found = re.search(r"Median:\s+([0-9.]+) ms", told)
    if found is None:
        raise RuntimeError(f"benchmark_app told no median:\n{told}")
    return float(found[1])


def _litert(model: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path, runs = Path(folder) / "result.json", 20
        for _ in range(2):  # it has no time limit: the first call says how many runs fill the time
            flags = ["--model", model, "--num_threads", 1, "--warmup_runs", 10, "--num_runs", runs]
            _run([sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", *flags, "--result_json", path])
            latency = json.loads(path.read_text())["latency"]
            runs = max(20, round(_PAIRED_SECONDS * 1000 / latency["median_ms"]))
        return float(latency["median_ms"])


def _run(command: list[object]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, cwd=_ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _cells(row: Row) -> list[str]:
    return [row.what, f"{row.value:+.3%}", row.spread, f"{row.limit:.0%}", "met" if row.met else "NOT MET"]


def _page(rows: list[Row]) -> str:
    machine, today = describe_machine(), time.strftime("%Y-%m-%d")
    lines = [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(
        [
            "# What the harness costs",
            "",
            f"Made by `make overhead` on {today}: {machine.cpu}, {machine.cpus} cores, {machine.system}, "
            f"Python {machine.python}, governor: {machine.governor}.",
            "",
            "| figure | measured | spread | limit | verdict |",
            "| --- | ---: | --- | ---: | --- |",
            *lines,
            "",
            "The first two rows are of a session that spins for 5 ms, measured by the same code as any model, with the",
            "progress lines and the second process that watches the device. Each other row is the median over",
            f"{_PAIRS} pairs of the ratio of two medians, taken one after the other in fresh processes and in turns:",
            "the runtime's own tool and ours, the same file, one thread, floats in f32. The tools leave the input and",
            "the output where they are; ours copies both, as an application does.",
            "",
        ]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "bundle", type=Path, nargs="?", default=_ROOT / "demo/vessels-host", help="default: %(default)s"
    )
    parser.add_argument("--document", type=Path, default=_ROOT / "docs/overhead.md", help="default: %(default)s")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine, too; no document is written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
