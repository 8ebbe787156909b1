"""`edgeconv bench`: the bundle's own agent, one fresh process for each artefact; then drift and task metric here."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeconv
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.drift import drift_of, golden_outputs
from edgeconv.benchmarks.transports import Completed, Transport, open_transport
from edgeconv.bundles import Bundle
from edgeconv.errors import BundleError, DataError, DeviceError, UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import PRECISIONS, Artifact, Manifest
from edgeconv.parity.metrics import get_metric
from edgeconv.records import SCHEMA_VERSION, Host, Latency, Memory, Result, RunRecord, TaskMetric
from edgeconv.runtimes import get_runtime
from edgeconv.schema import SchemaError, from_dict, to_json

__all__ = ["Progress", "RunSettings", "run_benchmark", "write_record"]

Progress = Callable[[int, int, str], None]
_Golden = Mapping[str, npt.NDArray[Any]]
_QUIET = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
_DEFAULT_THREADS = 1  # on local:, so that figures of different machines can be set side by side
_OVERHEAD_SECONDS = 240  # import, load and golden cases of a slow machine, on top of the timed part


@dataclasses.dataclass(frozen=True)
class RunSettings(LatencyProtocol):
    """The latency protocol of every artefact of a run."""

    @classmethod
    def quick(cls) -> RunSettings:
        """For a verdict on parity: the latencies are taken, but not for long."""
        return cls(min_seconds=0.1, min_count=7, extra_seconds=0.4, warmup_seconds=0.0)


def run_benchmark(
    bundle: Bundle,
    target: str = "local:",
    *,
    runtimes: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    threads: int | None = None,
    settings: RunSettings | None = None,
    progress: Progress = lambda done, total, description: None,
) -> RunRecord:
    """Measure the artefacts of a bundle on a target.

    An artefact that fails is a result with `valid` false and its reason; it does not end the run.

    Args:
        bundle: as `load_bundle` returns it; its own `agent.pyz` is what runs.
        target: where; `local:` is this machine.
        runtimes: only these, all by default.
        precisions: only these, all by default.
        threads: of each runtime; 1 by default.
        settings: when a latency is measured well enough.
        progress: called with (done, total, what is measured next).

    Raises:
        UsageError: a runtime or precision is unknown, or the bundle has no artefact of those asked for.
        DeviceError: the target cannot be reached, or its Python cannot run the agent.
        BundleError: the golden cases are damaged.
    """
    settings = settings or RunSettings()
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads were asked for; at least 1 is needed.")
    if bundle.manifest.metric is not None:
        get_metric(bundle.manifest.metric)  # an unknown one is told now, not after minutes of measuring
    artifacts = _select(bundle, runtimes, precisions)
    golden = _read_golden(bundle)
    now = datetime.datetime.now(datetime.timezone.utc)
    results = []
    with closing(open_transport(target)) as transport:
        agent = _Agent(transport, bundle, threads or _DEFAULT_THREADS, settings)
        host = agent.host()
        for index, artifact in enumerate(artifacts):
            progress(index, len(artifacts), f"{artifact.runtime} {artifact.precision}")
            result, outputs = agent.measure(artifact)
            results.append(_judge(result, outputs, golden, bundle.manifest))
    progress(len(artifacts), len(artifacts), "done")
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        started_at=now.isoformat(timespec="seconds"),
        edgeconv_version=edgeconv.__version__,
        target=target,
        bundle=bundle.manifest.name,
        manifest_sha256=bundle.manifest_sha256,
        model=bundle.manifest.model.name,
        device=bundle.manifest.device,
        host=host,
        results=results,
    )


def write_record(record: RunRecord, path: Path) -> None:
    """Write a run record as JSON, whole or not at all."""
    atomic_write_bytes(path, to_json(record).encode())


class _Agent:
    """The bundle's agent on a target."""

    def __init__(self, transport: Transport, bundle: Bundle, threads: int, settings: RunSettings) -> None:
        self._transport = transport
        self._directory = transport.push(bundle.directory)
        self._threads = threads
        self._settings = settings
        self._timeout_seconds = _OVERHEAD_SECONDS + settings.max_seconds * 2 + settings.warmup_seconds * 10

    def host(self) -> Host:
        """The machine that it runs on."""
        done = self._run("host")
        try:
            return from_dict(Host, json.loads(done.stdout))
        except (json.JSONDecodeError, SchemaError) as error:
            raise DeviceError(
                f"The bundle's agent does not run on the target: {_reason(done)}.",
                "It needs Python 3.8 or later; the bundle's README says how to run it by hand.",
            ) from error

    def measure(self, artifact: Artifact) -> tuple[Result, dict[str, npt.NDArray[Any]]]:
        """One artefact in a fresh process; the outputs are empty where it failed."""
        stem = f"{self._transport.workspace}/{artifact.runtime}-{artifact.precision}"
        result_path, outputs_path = f"{stem}.json", f"{stem}.npz"
        done = self._run(
            "run",
            *("--bundle", self._directory, "--runtime", artifact.runtime, "--precision", artifact.precision),
            *("--threads", str(self._threads), "--json", result_path, "--outputs", outputs_path),
            *(f"--{name.replace('_', '-')}={value}" for name, value in dataclasses.asdict(self._settings).items()),
        )
        if done.returncode != 0:
            return _failed(artifact, self._threads, self._words(done)), {}
        try:
            result = from_dict(Result, json.loads(self._transport.pull(result_path)))
            with np.load(io.BytesIO(self._transport.pull(outputs_path)), allow_pickle=False) as arrays:
                return result, dict(arrays)
        except (SchemaError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            return _failed(artifact, self._threads, f"the agent's result cannot be read: {error}"), {}

    def _run(self, *arguments: str) -> Completed:
        command = [self._transport.python, f"{self._directory}/agent.pyz", *arguments]
        return self._transport.run(command, environment=_QUIET, timeout_seconds=self._timeout_seconds)

    def _words(self, done: Completed) -> str:
        return f"it took longer than {self._timeout_seconds:.0f} s" if done.returncode is None else _reason(done)


def _select(bundle: Bundle, runtimes: Sequence[str] | None, precisions: Sequence[str] | None) -> list[Artifact]:
    for name in runtimes or ():
        get_runtime(name)
    unknown = sorted(set(precisions or ()) - set(PRECISIONS))
    if unknown:
        raise UsageError(f"No precision is called {unknown[0]!r}.", f"There are: {', '.join(PRECISIONS)}.")
    chosen = [
        artifact
        for artifact in bundle.manifest.artifacts
        if (not runtimes or artifact.runtime in runtimes) and (not precisions or artifact.precision in precisions)
    ]
    if not chosen:
        there = ", ".join(f"{a.runtime} {a.precision}" for a in bundle.manifest.artifacts)
        raise UsageError(f"Bundle {bundle.manifest.name} has no artefact of those asked for.", f"It has: {there}.")
    return chosen


def _read_golden(bundle: Bundle) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(bundle.golden, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if not name.startswith("input.")}
        golden_outputs(arrays, "torch")
        return arrays
    except (OSError, ValueError, EOFError, DataError) as error:
        raise BundleError(f"{bundle.golden} cannot be used: {error}.", "Export the bundle again.") from error


def _judge(result: Result, outputs: dict[str, npt.NDArray[Any]], golden: _Golden, manifest: Manifest) -> Result:
    """Add drift and task metric; outputs that cannot be compared make the result invalid."""
    if not outputs:
        return result
    try:
        drift = drift_of(golden, outputs, result.precision)
        task = _task(golden, outputs, manifest)
    except DataError as error:
        reasons = [*result.invalid_reasons, str(error)]
        return dataclasses.replace(result, valid=False, invalid_reasons=reasons)
    return dataclasses.replace(result, drift=drift, task=task)


def _task(golden: _Golden, outputs: dict[str, npt.NDArray[Any]], manifest: Manifest) -> TaskMetric | None:
    if manifest.metric is None or "target" not in golden:
        return None
    metric, port = get_metric(manifest.metric), manifest.outputs[0].name  # a task is judged by the first output
    torch, value = (metric(arrays[port], golden["target"]) for arrays in (golden_outputs(golden, "torch"), outputs))
    return TaskMetric(manifest.metric, torch, value)


def _failed(artifact: Artifact, threads: int, reason: str) -> Result:
    return Result(
        runtime=artifact.runtime,
        precision=artifact.precision,
        valid=False,
        invalid_reasons=[reason],
        artifact_sha256=artifact.sha256,
        artifact_bytes=artifact.total_bytes,
        latency_ns=Latency([], None, None, None, []),
        import_ns=None,
        load_ns=None,
        first_inference_ns=None,
        memory=Memory(None, None, "not measured"),
        drift=None,
        task=None,
        provider=None,
        threads=threads,
        evidence={},
    )


def _reason(done: Completed) -> str:
    """Why the agent ended: its own line of JSON, else the signal, else the last line on standard error."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(told, dict) and "error" in told:
            return f"{told['error']} {told.get('hint', '')}".strip()
    if done.returncode is not None and done.returncode < 0:
        return f"the agent was killed by signal {-done.returncode}"
    return lines[-1] if lines else f"the agent ended with exit code {done.returncode}"
