"""One TensorRT artefact by `trtexec`: engine, timed queries, layers, golden cases.

Part of the device agent: Python 3.8, numpy.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from edgeconv.benchmarks.agent.percentiles import make_latency, too_few
from edgeconv.benchmarks.agent.progress import Progress
from edgeconv.benchmarks.agent.protocol import LatencyProtocol, unsteadiness
from edgeconv.benchmarks.agent.sampler import Sampler
from edgeconv.benchmarks.agent.state.rules import invalidates
from edgeconv.benchmarks.agent.trtexec.command import TIMING_WORDS
from edgeconv.benchmarks.agent.trtexec.engine import device_of, prepare_engine
from edgeconv.benchmarks.agent.trtexec.engine_cache import EngineCache, EngineFacts, default_folder, same_gpu
from edgeconv.benchmarks.agent.trtexec.layers import Layers
from edgeconv.benchmarks.agent.trtexec.parse import Log
from edgeconv.benchmarks.agent.trtexec.steps import Steps
from edgeconv.benchmarks.agent.trtexec.times import Queries
from edgeconv.benchmarks.agent.trtexec.tool import find_trtexec, trtexec_version
from edgeconv.benchmarks.agent.trtexec.version import Version
from edgeconv.benchmarks.agent.usage import read_usage
from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.manifest import Artifact, Manifest
from edgeconv.records import DeviceState, Execution, Memory, Result
from edgeconv.runtimes.base import Array

__all__ = ["measure_tensorrt"]

_WARNINGS = 5  # the first so many are kept


class _Timing(NamedTuple):
    engine: Path
    facts: EngineFacts
    cached: bool
    log: Log
    queries: Queries
    state: DeviceState


def measure_tensorrt(
    directory: Path,
    manifest: Manifest,
    artifact: Artifact,
    threads: int,
    protocol: LatencyProtocol,
    progress: Optional[Progress] = None,
) -> Tuple[Result, Dict[str, Array]]:
    """Measure a `tensorrt` artefact of the bundle in `directory`, whose files have been verified.

    Returns:
        The result, without drift and task metric, and the outputs of all golden cases by port (cases, *port.shape).

    Raises:
        RuntimeUnavailableError: there is no `trtexec`, it is of an unknown version, it failed, or it was killed.
        UsageError: the protocol asks for what `trtexec` cannot do.
    """
    if protocol.mode == "burst":
        raise UsageError("trtexec cannot rest between bursts.", "Measure TensorRT in the steady or sustained mode.")
    progress = progress or Progress()
    with tempfile.TemporaryDirectory(prefix="edgeconv-trtexec-") as folder:
        scratch, trtexec = Path(folder), find_trtexec()
        version = trtexec_version(trtexec, scratch)
        steps = Steps(trtexec, version, scratch, directory, manifest, artifact)
        model = (directory / artifact.path).resolve()
        timing = _time(trtexec, version, model, artifact, steps, protocol, scratch, progress)
        progress("check", timing.queries.timed)
        layers, slowest = steps.layers(timing.engine)
        outputs = steps.outputs(timing.engine)
    execution = _execution(artifact.precision, layers)
    sustained, timed = protocol.mode == "sustained", timing.queries.timed
    checks = (
        too_few(len(timed)),
        None if sustained else unsteadiness(timed, protocol.tolerance),
        *invalidates(timing.state, sustained=sustained),
        f"{artifact.precision} was asked for and no layer with weights runs in it" if execution.share == 0 else None,
    )
    reasons = [reason for reason in checks if reason]
    load_seconds = timing.log.load_seconds
    result = Result(
        runtime=artifact.runtime,
        precision=artifact.precision,
        valid=not reasons,
        invalid_reasons=reasons,
        artifact_sha256=artifact.sha256,
        artifact_bytes=artifact.total_bytes,
        latency_ns=make_latency(timed, timing.queries.warmup, [len(timed)]),
        import_ns=None,
        load_ns=None if load_seconds is None else round(load_seconds * 1e9),
        first_inference_ns=None,
        memory=Memory(None, None, "trtexec does not tell"),
        drift=None,
        task=None,
        provider="TensorRT",
        threads=threads,
        evidence=_evidence(version, timing, slowest),
        state=timing.state,
        execution=execution,
        mode=protocol.mode,
    )
    return result, outputs


def _time(
    trtexec: str,
    version: Version,
    model: Path,
    artifact: Artifact,
    steps: Steps,
    protocol: LatencyProtocol,
    scratch: Path,
    progress: Progress,
) -> _Timing:
    """Timed queries on an engine out of the cache or, where that does not load or is of another GPU, a new one."""
    cache = EngineCache(default_folder())
    while True:
        progress("build")
        engine, facts, cached = prepare_engine(trtexec, version, model, artifact, cache, scratch)
        progress("timed")
        try:
            with Sampler() as sampler:
                began = read_usage()
                log, queries = steps.time(engine, protocol)
                state = sampler.finish(read_usage() - began, len(queries.timed))
        except RuntimeUnavailableError:
            if not cached:
                raise
        else:
            if not cached or same_gpu(facts, device_of(log)):
                return _Timing(engine, facts, cached, log, queries, state)
        cache.drop(engine)


def _execution(precision: str, layers: Layers) -> Execution:
    """What ran, by the layers with weights: a float first layer in an int8 network is as the graph says."""
    requested, share = f"TensorRT {precision}", layers.share(precision)
    used = "unknown" if share is None else f"TensorRT {max(layers.weighted, key=lambda name: layers.weighted[name])}"
    return Execution(requested, used, dict(layers.computing), share, precision="fp32, no TF32")


def _evidence(version: Version, timing: _Timing, slowest: List[str]) -> Dict[str, str]:
    gpu, capability = device_of(timing.log)
    facts = {
        "version": str(version),
        "device": gpu or timing.facts.gpu or "not told",
        "compute capability": capability or timing.facts.compute_capability or "not told",
        "latency": TIMING_WORDS,
        "engine": f"{'cached, ' if timing.cached else ''}built in {timing.facts.build_seconds:.1f} s",
        "flags": " ".join(timing.facts.flags),
        "outputs": "printed with six digits",
    }
    if timing.queries.compute:
        facts["GPU compute"] = f"{statistics.median(timing.queries.compute) / 1e6:.4f} ms (median)"
    for key in ("Application Compute Clock Rate", "Compute Clock Rate"):
        if key in timing.log.device:
            facts["GPU clock"] = timing.log.device[key]
    if slowest:
        facts["slowest layers"] = "; ".join(slowest)
    if timing.log.warnings:
        facts["warnings"] = " | ".join(timing.log.warnings[:_WARNINGS])
    return facts
