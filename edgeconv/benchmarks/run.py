"""`edgeconv bench`: the bundle's own agent, one fresh process for each artefact; then drift and task metric here."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeconv
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.drift import drift_of, golden_outputs
from edgeconv.benchmarks.target_agent import TargetAgent
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import open_transport
from edgeconv.errors import BundleError, DataError, UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import PRECISIONS, Artifact, Manifest
from edgeconv.parity.metrics import get_metric
from edgeconv.records import SCHEMA_VERSION, Result, RunRecord, TaskMetric
from edgeconv.runtimes import get_runtime
from edgeconv.schema import to_json

__all__ = ["Progress", "RunSettings", "run_benchmark", "write_record"]

Progress = Callable[[int, int, str], None]
_Golden = Mapping[str, npt.NDArray[Any]]
_DEFAULT_THREADS = 1  # on local:, so that figures of different machines can be set side by side


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
        agent = TargetAgent(transport, bundle, threads or _DEFAULT_THREADS, settings)
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
