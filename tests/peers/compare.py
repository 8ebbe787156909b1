"""edgeconv beside its peers: conversion time, latency, size and quality of the same trained models on this machine.

Models that the package has no weights for are trained at the first run. Every peer runs in an environment of its own
under the output folder, made from its pinned requirements at the first run, and is given the same float ONNX file or
torch module and the same calibration images. All artefacts of a model are then timed in turn in one process on one
core. Figures are written to results.json, and to docs/measurements.md when the machine was quiet. Exit code 1 when a
bound is not met.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bounds import bounds_of_calibration, bounds_of_demo, bounds_of_model
from calibration_memory import measure_calibration_memory
from demo_time import time_demo
from document import document, print_results
from environments import MAIN, EnvironmentFailedError, ensure_environment, installed_versions
from machine import QUIET_CORES, CpuWatch, describe_machine, foreign_cores_now
from ours import export_ours
from peers import PEERS, run_cold, run_peer
from quality_bounds import quality_bounds
from results import FLOAT, Conversion, Measurement, ModelResult, Results
from rich.console import Console
from subjects import SUBJECTS, Subject, find_subject
from trained import train_missing

from edgeconv.errors import EdgeconvError
from edgeconv.files import atomic_write_bytes
from edgeconv.schema import from_dict

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_CORES = 2  # that conversions may use
_WIDTH = 180  # of the tables where the output is no terminal

console = Console(width=None if sys.stdout.isatty() else _WIDTH)


def main() -> int:
    options = _options()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    subjects = [find_subject(name) for name in options.models]
    pythons, broken = _environments(output)
    train_missing(subjects, output, _CORES, lambda line: console.print(line, highlight=False, markup=False))
    busy = foreign_cores_now()
    if busy > QUIET_CORES and not options.anyway:
        console.print(f"Other processes use {busy:.2f} cores: figures would be worth nothing. Wait, or use --anyway.")
        return 2
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    results = Results(
        date=datetime.date.today().isoformat(),
        rounds=options.rounds,
        quiet=busy <= QUIET_CORES,
        machine=describe_machine(),
        versions={name: installed_versions(python) for name, python in pythons.items()},
    )
    if options.keep:
        results = dataclasses.replace(results, **_kept(output, results, options.models))
    for subject in subjects:
        model = _compare(subject, output, pythons, broken, options.rounds)
        results = _save(dataclasses.replace(results, models=_in_order([*results.models, model])), output)
    if not options.no_memory:
        with console.status("memory of calibrating"):
            results = _save(dataclasses.replace(results, calibration=measure_calibration_memory()), output)
    if not options.no_demo:
        results = _save(dataclasses.replace(results, demo=time_demo(output, options.install)), output)
    print_results(results, console)
    if results.quiet:
        atomic_write_bytes(options.document, document(results).encode())
        console.print(f"[green]✓[/] {options.document}", highlight=False)
    else:
        console.print(f"The machine was busy: {options.document} is left as it was. See {output / 'measurements.md'}.")
    return 0 if all(bound.passed for bound in results.bounds) else 1


def _kept(output: Path, results: Results, anew: Sequence[str]) -> dict[str, Any]:
    """What an earlier run measured and this one does not: ratios are of one model's own rounds.

    Ends the program where that run had other packages, another machine or another number of rounds. Whether the change
    since then leaves the files of those models as they were is for the caller to know.
    """
    try:
        earlier = from_dict(Results, json.loads((output / "results.json").read_text()))
    except (OSError, ValueError, EdgeconvError) as error:
        sys.exit(f"There are no results to keep: {error}")
    if any(getattr(earlier, name) != getattr(results, name) for name in ("versions", "machine", "rounds")):
        sys.exit(
            "The results that are there are of other packages, another machine or other rounds: measure all models."
        )
    models = [model for model in earlier.models if model.model not in anew]
    return {"models": models, "calibration": earlier.calibration, "demo": earlier.demo}


def _in_order(models: list[ModelResult]) -> list[ModelResult]:
    names = [subject.name for subject in SUBJECTS]
    return sorted(models, key=lambda model: names.index(model.model))


def _save(results: Results, output: Path) -> Results:
    """With its bounds, written down: minutes lie between the models."""
    bounds = [b for model in results.models for b in itertools.chain(quality_bounds(model), bounds_of_model(model))]
    bounds += [] if results.calibration is None else bounds_of_calibration(results.calibration)
    bounds += [] if results.demo is None else bounds_of_demo(results.demo)
    quiet = results.quiet and all(model.foreign_cores <= QUIET_CORES for model in results.models)
    results = dataclasses.replace(results, bounds=bounds, quiet=quiet)
    atomic_write_bytes(output / "results.json", json.dumps(dataclasses.asdict(results), indent=1).encode())
    atomic_write_bytes(output / "measurements.md", document(results).encode())
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("--models", nargs="+", default=names, choices=names, metavar="MODEL", help=", ".join(names))
    parser.add_argument("--output", type=Path, default=_ROOT / "build" / "peers")
    parser.add_argument("--document", type=Path, default=_ROOT / "docs" / "measurements.md")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each artefact (default: 20)")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep what the last run measured of the other models, whose files are as they were",
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory of calibrating")
    parser.add_argument("--no-demo", action="store_true", help="leave out the times of make demo and --help")
    parser.add_argument("--install", action="store_true", help="time also the environment that make demo makes")
    return parser.parse_args()


def _environments(output: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Interpreters by environment, and why the others could not be made."""
    pythons, broken = {}, {}
    for name in dict.fromkeys([MAIN, *(peer.environment for peer in PEERS)]):
        with console.status(f"environment {name}"):
            try:
                pythons[name] = ensure_environment(name, output)
            except EnvironmentFailedError as error:
                broken[name] = f"no environment: {error}"
    return pythons, broken


def _compare(
    subject: Subject, output: Path, pythons: dict[str, Path], broken: dict[str, str], rounds: int
) -> ModelResult:
    directory = output / subject.name
    directory.mkdir(exist_ok=True)

    def tell(conversion: Conversion) -> None:
        outcome = f"{conversion.seconds:.1f} s" if conversion.failure is None else f"failed: {conversion.failure}"
        console.print(f"{subject.name}: {conversion.converter}: {outcome}", highlight=False, markup=False)

    with console.status(f"{subject.name}: data"):
        command = [sys.executable, str(_HERE / "material.py"), subject.name, str(output), str(directory)]
        given = run_cold("torch.onnx and onnxsim", "the float files", command, directory / "material.log")
    if given.failure is not None:
        sys.exit(f"{subject.name} gives the peers nothing to convert: {given.failure}")
    watch = CpuWatch()
    with console.status(f"{subject.name}: edgeconv"):
        conversions, wanted = export_ours(subject, output, directory, tell)
    plain = directory / "plain.onnx"
    wanted.insert(0, Measurement(FLOAT, "onnxruntime", "fp32", str(plain), _size(plain)))
    for peer in PEERS:
        with console.status(f"{subject.name}: {peer.name}"):
            path = directory / peer.file_name
            path.unlink(missing_ok=True)
            if peer.environment in broken:
                conversion = Conversion(peer.name, f"{peer.runtime} int8", 0.0, 0.0, broken[peer.environment])
            else:
                conversion = run_peer(peer, pythons[peer.environment], directory, path)
        tell(conversion)
        conversions.append(conversion)
        if conversion.failure is None:
            wanted.append(Measurement(peer.name, peer.runtime, "int8", str(path), _size(path)))
    foreign_converting = watch.foreign_cores()
    evaluation = directory / "evaluation.npz"
    with console.status(f"{subject.name}: {rounds} rounds of {len(wanted)} artefacts"):
        foreign_timing, measurements = _measure(wanted, evaluation, directory, rounds)
    arrays = np.load(evaluation)
    return ModelResult(
        subject.name,
        subject.separable,
        str(arrays["metric"]),
        float(arrays["value"]),
        float(arrays["shifted_value"]),
        len(arrays["input"]),
        len(np.load(directory / "calibration.npy", mmap_mode="r")),
        conversions,
        measurements,
        max(foreign_converting, foreign_timing),
    )


def _measure(
    wanted: Sequence[Measurement], evaluation: Path, directory: Path, rounds: int
) -> tuple[float, list[Measurement]]:
    plan, answer = directory / "plan.json", directory / "measured.json"
    plan.write_text(
        json.dumps({"evaluation": str(evaluation), "measurements": [dataclasses.asdict(item) for item in wanted]})
    )
    command = [sys.executable, str(_HERE / "measure.py"), str(plan), str(answer), str(rounds)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    measured = json.loads(answer.read_text())
    return measured["foreign_cores"], [from_dict(Measurement, item) for item in measured["measurements"]]


def _size(path: Path) -> int:
    """Of a model file and the OpenVINO weights beside it."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


if __name__ == "__main__":
    sys.exit(main())
