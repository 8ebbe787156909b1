"""`edgeconv bench`: the bundle's own agent in fresh processes on a target; then drift and task metric here."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import edgeconv
from edgeconv.benchmarks.agent.tools import TOOLS
from edgeconv.benchmarks.campaign import Progress, run_campaign
from edgeconv.benchmarks.judging import Judge
from edgeconv.benchmarks.outputs import RunOutputs
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, TargetAgent
from edgeconv.benchmarks.tool_agent import ToolAgent
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import Transport, open_transport
from edgeconv.errors import UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import PRECISIONS, Artifact
from edgeconv.records import SCHEMA_VERSION, Host, RunRecord, Tuning
from edgeconv.runtimes import get_runtime
from edgeconv.schema import to_json

__all__ = ["Progress", "RunSettings", "new_run_id", "run_benchmark", "select_artifacts", "write_record"]

Events = Callable[[Mapping[str, Any]], None]
_Options = Mapping[str, Mapping[str, str]]
_DEFAULT_THREADS = 1  # on local:, so that figures of different machines can be set side by side
_OF_BENCHMARK_MODEL = "litert"
_EMULATED_COUNT = 10  # of an emulated board no latency is worth waiting for, and a virtual clock repeats


def new_run_id() -> str:
    """A name that no other run has, and that sorts by time."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


def run_benchmark(
    bundle: Bundle,
    target: str = "local:",
    *,
    runtimes: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    threads: int | None = None,
    options: _Options | None = None,
    tuned: Mapping[str, Tuning] | None = None,
    settings: RunSettings | None = None,
    metric: str | None = None,
    benchmark_model: Path | None = None,
    run_id: str | None = None,
    clean: bool = False,
    progress: Progress = lambda done, total, description: None,
    events: Events = lambda event: None,
    keep: Callable[[RunOutputs], None] = lambda outputs: None,
) -> RunRecord:
    """Measure the artefacts of a bundle on a target.

    An artefact that fails is a result with `valid` false and its reason; it does not end the run.

    Args:
        bundle: as `load_bundle` returns it; its own `agent.pyz` is what runs.
        target: where; `local:` is this machine.
        runtimes: only these, all by default.
        precisions: only these, all by default.
        threads: of each runtime; 1 by default, or what tuning found.
        options: of the runtimes, by their name, such as {"onnxruntime": {"provider": "cuda"}}; see `Runtime.options`.
        tuned: what tuning found, by the SHA-256 of the artefact; `threads` and `options` win over it.
        settings: when a latency is measured well enough.
        metric: task metric instead of the bundle's, a built-in name or the user's code; see `metric_of_bundle`.
        benchmark_model: measure the LiteRT artefacts with this binary of LiteRT's own tool instead of the agent.
        run_id: of the record; a new one by default.
        clean: remove everything of ours from the target afterwards.
        progress: called with (done, total, what is measured next).
        events: called with what the agent tells while it measures, about once a second.
        keep: called once with what the runtimes returned for the golden cases, see `edgeconv.benchmarks.outputs`.

    Raises:
        UsageError: a runtime or precision is unknown, or the bundle has no artefact of those asked for.
        DeviceError: the target cannot be reached, or its Python cannot run the agent.
        BundleError: the golden cases are damaged.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads were asked for; at least 1 is needed.")
    if benchmark_model is not None and not runtimes:
        runtimes = [_OF_BENCHMARK_MODEL]
    artifacts = select_artifacts(bundle, runtimes, precisions)
    others = sorted({a.runtime for a in artifacts} - {_OF_BENCHMARK_MODEL})
    if benchmark_model is not None and others:
        raise UsageError(f"benchmark_model runs {_OF_BENCHMARK_MODEL} artefacts, not {', '.join(others)}.")
    judge = Judge(bundle, metric)  # a metric that cannot be used is told now, not after minutes
    started = datetime.datetime.now(datetime.timezone.utc)
    with closing(open_transport(target)) as transport:
        agent = _agent(transport, target, bundle, benchmark_model, events)
        host = agent.host()
        settings = settings or _default_settings(host)
        if benchmark_model is not None:  # it keeps no samples that rounds could be made of
            settings = dataclasses.replace(settings, rounds=1, attempts=1)
        plans = [_plan(artifact, threads, options or {}, tuned or {}, settings) for artifact in artifacts]
        measured = run_campaign(agent, plans, settings, progress)
        if clean:
            transport.clean()
    keep({(a.runtime, a.precision): outputs for a, (_, outputs) in zip(artifacts, measured, strict=True)})
    manifest = bundle.manifest
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=run_id or new_run_id(),
        started_at=started.isoformat(timespec="seconds"),
        edgeconv_version=edgeconv.__version__,
        target=target,
        bundle=manifest.name,
        manifest_sha256=bundle.manifest_sha256,
        model=manifest.model.name,
        device=manifest.device,
        host=host,
        results=[
            dataclasses.replace(judge.complete(result, arrays, artifact), tuning=(tuned or {}).get(artifact.sha256))
            for artifact, (result, arrays) in zip(artifacts, measured, strict=True)
        ],
        model_sha256=manifest.model.weights_sha256,
        tools=dict(manifest.tools),
        settings=settings.numbers(),
        failures=list(manifest.failures),
    )


def write_record(record: RunRecord, path: Path) -> None:
    """Write a run record as JSON, whole or not at all."""
    atomic_write_bytes(path, to_json(record).encode())


def _default_settings(host: Host) -> RunSettings:
    return RunSettings.counted(_EMULATED_COUNT) if host.emulated else RunSettings()


def _agent(
    transport: Transport, target: str, bundle: Bundle, binary: Path | None, events: Events
) -> TargetAgent | ToolAgent:
    if binary is not None:
        return ToolAgent(transport, target, bundle, binary, events)
    return TargetAgent(transport, bundle, events, lambda sent, total: events({"phase": _upload(sent, total)}))


def _upload(sent: int, total: int) -> str:
    return f"upload, {sent / 1e6:.0f} of {total / 1e6:.0f} MB"


def _plan(
    artifact: Artifact, threads: int | None, options: _Options, tuned: Mapping[str, Tuning], settings: RunSettings
) -> Measurement:
    tuning = tuned.get(artifact.sha256)
    found = dict(tuning.options) if tuning is not None else {}
    default = int(found.pop("threads", _DEFAULT_THREADS))
    asked = {**found, **options.get(artifact.runtime, {})}
    return Measurement(artifact, threads or default, settings.protocol, asked)


def select_artifacts(
    bundle: Bundle, runtimes: Sequence[str] | None = None, precisions: Sequence[str] | None = None
) -> list[Artifact]:
    """The artefacts of some runtimes and precisions, all by default.

    Raises:
        UsageError: a runtime or precision is unknown, or there is no such artefact.
    """
    for name in runtimes or ():
        if name not in TOOLS:
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
