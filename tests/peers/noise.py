"""Ten pairs of runs of the same bundle on this machine: how far two runs of `edgeconv bench` are apart.

Each run is what a user gets by default, of the int8 artefact of every runtime. Written to docs/noise.md when the
machine was quiet. Exit code 1 when a pair of medians is more than 3 % apart or a run is not valid, 2 when the machine
is busy.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from pathlib import Path

from machine import QUIET_CORES, describe_machine, foreign_cores_now
from rich.console import Console
from rich.table import Table

from edgeconv.benchmarks.run import run_benchmark
from edgeconv.bundles import load_bundle
from edgeconv.files import atomic_write_bytes
from edgeconv.records import Result, RunRecord

_ROOT = Path(__file__).resolve().parents[2]
_PAIRS, _WANTED = 10, 0.03

console = Console(width=None if sys.stdout.isatty() else 120)


@dataclasses.dataclass(frozen=True)
class Row:
    """The pairs of one artefact: relative differences of the two medians, and the runs that were not valid."""

    name: str
    median_ns: float
    differences: list[float]
    invalid: list[str]
    attempts: int

    @property
    def floor(self) -> float:
        """The largest difference of the pairs: with ten of them, nine in ten further pairs stay below it as a rule."""
        return max(self.differences)


def main() -> int:
    options = _options()
    busy = foreign_cores_now()
    if busy > QUIET_CORES and not options.anyway:
        console.print(f"Other processes use {busy:.2f} cores: figures would be worth nothing. Wait, or use --anyway.")
        return 2
    bundle, started = load_bundle(options.bundle), time.monotonic()
    runs = []
    for number in range(2 * options.pairs):
        runs.append(run_benchmark(bundle, precisions=["int8"]))
        shown = ", ".join(f"{r.runtime} {(r.latency_ns.p50 or 0) / 1e6:.3f} ms" for r in runs[-1].results)
        console.print(f"run {number + 1}: {shown}")
    rows = [_row([run.results[index] for run in runs]) for index in range(len(runs[0].results))]
    quiet = max([busy, *map(_others, runs)]) <= QUIET_CORES
    table = Table("artefact", "median", "difference of a pair", "largest", f"within {_WANTED:.0%}", "", box=None)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    for row in rows:
        for reason in row.invalid:
            console.print(f"{row.name} was not valid: {reason}")
    if quiet:
        atomic_write_bytes(options.document, _page(rows, time.monotonic() - started).encode())
        console.print(f"✓ {options.document}", highlight=False)
    else:
        console.print(f"The machine was busy: {options.document} is left as it was.")
    return 0 if all(row.floor <= _WANTED and not row.invalid for row in rows) else 1


def _row(results: list[Result]) -> Row:
    medians = [float(result.latency_ns.p50 or 0) for result in results]
    pairs = list(zip(medians[::2], medians[1::2], strict=True))
    return Row(
        f"{results[0].runtime} {results[0].precision}",
        statistics.median(medians),
        [abs(second - first) / ((first + second) / 2) for first, second in pairs],
        ["; ".join(result.invalid_reasons) for result in results if not result.valid],
        sum(result.attempts for result in results),
    )


def _others(run: RunRecord) -> float:
    """Cores that others had, on average over the artefacts."""
    shares = [r.state.others_cpu_share for r in run.results if r.state and r.state.others_cpu_share is not None]
    return statistics.mean(shares) * run.host.cpus if shares else 0.0


def _cells(row: Row) -> list[str]:
    within = sum(difference <= _WANTED for difference in row.differences)
    return [
        row.name,
        f"{row.median_ns / 1e6:.2f} ms",
        f"{statistics.median(row.differences):.2%}",
        f"{row.floor:.2%}",
        f"{within} of {len(row.differences)}",
        f"{len(row.invalid)} runs not valid, {row.attempts} attempts",
    ]


def _page(rows: list[Row], seconds: float) -> str:
    machine, today = describe_machine(), time.strftime("%Y-%m-%d")
    lines = [f"| {' | '.join(_cells(row))} |" for row in rows]
    worst = max(row.floor for row in rows)
    return "\n".join(
        [
            "# How far two runs are apart",
            "",
            f"Made by `make noise` on {today} in {seconds / 60:.0f} min: {machine.cpu}, {machine.cpus} cores, "
            f"{machine.system}, Python {machine.python}, governor: {machine.governor}.",
            "",
            f"The noise floor of this machine is {worst:.1%}: the largest difference between the medians of two runs "
            "of the same",
            "bundle, one right after the other, in ten pairs of each artefact. A difference below it means nothing.",
            "",
            f"| artefact | median | difference of a pair, typically | largest | within {_WANTED:.0%} | |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *lines,
            "",
            "Each run is `edgeconv bench` with its defaults: three fresh processes of each artefact, in turns.",
            "",
        ]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "bundle", type=Path, nargs="?", default=_ROOT / "demo/vessels-host", help="default: %(default)s"
    )
    parser.add_argument("--pairs", type=int, default=_PAIRS, help="default: %(default)s")
    parser.add_argument("--document", type=Path, default=_ROOT / "docs/noise.md", help="default: %(default)s")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine, too; no document is written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
