"""edgeconv beside its peers: conversion time, latency, size and quality of the same trained models on this machine.

Every peer runs in an environment of its own under the output folder, made from its pinned requirements at the first
run, and is given the same float ONNX file or torch module and the same calibration images. All artefacts of a model are
then timed in turn in one process on one core. Figures are written to results.json, and to docs/measurements.md when the
machine was quiet. Exit code 1 when a bound is not met.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from bounds import OURS, bounds_of_demo, bounds_of_model
from demo_time import time_demo
from document import document, print_results
from environments import MAIN, EnvironmentFailedError, ensure_environment, installed_versions
from machine import QUIET_CORES, CpuWatch, describe_machine, foreign_cores_now
from peers import PEERS, run_cold, run_peer
from results import Conversion, DemoTimes, Measurement, ModelResult, Results
from rich.console import Console

from edgeconv.bundles import load_bundle
from edgeconv.errors import EdgeconvError
from edgeconv.files import atomic_write_bytes

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_CORES = 2  # that conversions may use
_PLAIN = "float ONNX file as given to the peers"
_LITERT_ONLY = "edgeconv, LiteRT only, from the ONNX file"

_WIDTH = 150  # of the tables where the output is no terminal

console = Console(width=None if sys.stdout.isatty() else _WIDTH)


def main() -> int:
    options = _options()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    pythons, broken = _environments(output)
    busy = foreign_cores_now()
    if busy > QUIET_CORES and not options.anyway:
        console.print(f"Other processes use {busy:.2f} cores: figures would be worth nothing. Wait, or use --anyway.")
        return 2
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    versions = {name: installed_versions(python) for name, python in pythons.items()}
    models: list[ModelResult] = []
    for model in options.models:
        models.append(_compare(model, output / model, pythons, broken, options.rounds))
        results = _summarise(options.rounds, busy, versions, models, None)
        _save(results, output)  # minutes lie between the models
    if not options.no_demo:
        results = _summarise(options.rounds, busy, versions, models, time_demo(output, options.install))
        _save(results, output)
    print_results(results, console)
    if results.quiet:
        atomic_write_bytes(options.document, document(results).encode())
        console.print(f"[green]✓[/] {options.document}", highlight=False)
    else:
        console.print(f"The machine was busy: {options.document} is left as it was. See {output / 'measurements.md'}.")
    return 0 if all(bound.passed for bound in results.bounds) else 1


def _summarise(
    rounds: int, busy: float, versions: dict[str, dict[str, str]], models: list[ModelResult], demo: DemoTimes | None
) -> Results:
    bounds = [bound for model in models for bound in bounds_of_model(model)]
    bounds += [] if demo is None else bounds_of_demo(demo)
    quiet = max([busy, *(model.foreign_cores for model in models)]) <= QUIET_CORES
    today = datetime.date.today().isoformat()
    return Results(today, rounds, quiet, describe_machine(), versions, models, demo, bounds)


def _save(results: Results, output: Path) -> None:
    atomic_write_bytes(output / "results.json", json.dumps(dataclasses.asdict(results), indent=1).encode())
    atomic_write_bytes(output / "measurements.md", document(results).encode())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vessels", "deblur"], help="built-in tasks")
    parser.add_argument("--output", type=Path, default=_ROOT / "build" / "peers")
    parser.add_argument("--document", type=Path, default=_ROOT / "docs" / "measurements.md")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each artefact (default: 40)")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too")
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


def _compare(model: str, directory: Path, pythons: dict[str, Path], broken: dict[str, str], rounds: int) -> ModelResult:
    directory.mkdir(exist_ok=True)
    with console.status(f"{model}: data"):
        command = [sys.executable, str(_HERE / "material.py"), model, str(directory)]
        given = run_cold("torch.onnx and onnxsim", "the float files", command, directory / "material.log")
    if given.failure is not None:
        sys.exit(f"{model} gives the peers nothing to convert: {given.failure}")
    watch = CpuWatch()
    conversions, wanted = _export(model, directory)
    for peer in PEERS:
        with console.status(f"{model}: {peer.name}"):
            path = directory / peer.file_name
            path.unlink(missing_ok=True)
            if peer.environment in broken:
                conversion = Conversion(peer.name, f"{peer.runtime} int8", 0.0, 0.0, broken[peer.environment])
            else:
                conversion = run_peer(peer, pythons[peer.environment], directory, path)
        conversions.append(_told(model, conversion))
        if conversion.failure is None:
            wanted.append(Measurement(peer.name, peer.runtime, "int8", str(path), _size(path)))
    foreign_converting = watch.foreign_cores()
    evaluation = directory / "evaluation.npz"
    with console.status(f"{model}: {rounds} rounds of {len(wanted)} artefacts"):
        foreign_timing, measurements = _measure(wanted, evaluation, directory, rounds)
    arrays = np.load(evaluation)
    return ModelResult(
        model,
        str(arrays["metric"]),
        float(arrays["value"]),
        len(arrays["input"]),
        len(np.load(directory / "calibration.npy", mmap_mode="r")),
        conversions,
        measurements,
        max(foreign_converting, foreign_timing),
    )


def _export(model: str, directory: Path) -> tuple[list[Conversion], list[Measurement]]:
    """Our own bundle, and our conversion of the peers' ONNX file to LiteRT alone, as onnx2tf does it."""
    plain = directory / "plain.onnx"
    wanted = [Measurement(_PLAIN, "onnxruntime", "fp32", str(plain), _size(plain))]
    program = [sys.executable, "-m", "edgeconv", "export"]
    rest = ["--device", "host", "--force", "--json"]
    with console.status(f"{model}: edgeconv"):
        log, bundles = directory / "edgeconv.log", directory / "bundles"
        shutil.rmtree(bundles, ignore_errors=True)  # so that a failing export leaves no older bundle to be measured
        command = [*program, model, *rest, "-o", str(bundles)]
        whole = _told(model, run_cold(OURS, "all runtimes, all precisions", command, log))
        data = ["--calibration", str(directory / "calibration.npy"), "--runtime", "litert"]
        single = [*program, str(plain), *data, *rest, "-o", str(directory / "litert")]
        alone = run_cold(_LITERT_ONLY, "litert fp32, int8", single, directory / "edgeconv-litert.log")
        _told(model, alone)
    try:
        bundle = load_bundle(bundles / f"{model}-host")
    except EdgeconvError as error:
        return [dataclasses.replace(whole, failure=whole.failure or str(error)), alone], wanted
    for artifact in bundle.manifest.artifacts:
        path = str(bundle.directory / artifact.path)
        wanted.append(Measurement(OURS, artifact.runtime, artifact.precision, path, artifact.total_bytes))
    for failed in bundle.manifest.failures:
        wanted.append(Measurement(OURS, failed.runtime, failed.precision, "", 0, failure=failed.reason))
    return [whole, alone], wanted


def _told(model: str, conversion: Conversion) -> Conversion:
    outcome = f"{conversion.seconds:.1f} s" if conversion.failure is None else f"failed: {conversion.failure}"
    console.print(f"{model}: {conversion.converter}: {outcome}", highlight=False, markup=False)
    return conversion


def _measure(
    wanted: list[Measurement], evaluation: Path, directory: Path, rounds: int
) -> tuple[float, list[Measurement]]:
    plan, answer = directory / "plan.json", directory / "measured.json"
    plan.write_text(
        json.dumps({"evaluation": str(evaluation), "measurements": [dataclasses.asdict(item) for item in wanted]})
    )
    command = [sys.executable, _HERE / "measure.py", plan, answer, str(rounds)]
    subprocess.run(command, check=True, env=_environment())
    measured = json.loads(answer.read_text())
    return measured["foreign_cores"], [Measurement(**item) for item in measured["measurements"]]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _size(path: Path) -> int:
    """Of a model file and the OpenVINO weights beside it."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


if __name__ == "__main__":
    sys.exit(main())
