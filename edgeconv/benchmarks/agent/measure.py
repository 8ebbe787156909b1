"""One artefact, measured in this process and then replayed on the golden cases.

Part of the device agent: Python 3.8, numpy.
"""

from __future__ import annotations

import dataclasses
import time
from array import array
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edgeconv.benchmarks.agent.cooldown import CoolDown, cool_down
from edgeconv.benchmarks.agent.host import int8_instructions, read_host
from edgeconv.benchmarks.agent.integrity import verify_files
from edgeconv.benchmarks.agent.memory import MemoryPhases
from edgeconv.benchmarks.agent.modes import describe
from edgeconv.benchmarks.agent.percentiles import make_latency, too_few
from edgeconv.benchmarks.agent.progress import Progress
from edgeconv.benchmarks.agent.protocol import LatencyProtocol, Sampling, collector_off, take_samples, warm_up
from edgeconv.benchmarks.agent.replay import GOLDEN, Replay
from edgeconv.benchmarks.agent.sampler import Sampler
from edgeconv.benchmarks.agent.state.look import StateReader, hottest_celsius
from edgeconv.benchmarks.agent.state.rules import invalidates
from edgeconv.benchmarks.agent.tools import TOOLS
from edgeconv.benchmarks.agent.usage import Usage, read_usage
from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.manifest import Artifact, Int8Proof, Manifest, read_manifest
from edgeconv.records import Execution, Result
from edgeconv.runtimes import get_runtime
from edgeconv.runtimes.base import DEFAULTS, Array, Runtime, Session
from edgeconv.runtimes.kernels import ANY_MACHINE

__all__ = ["measure", "open_artifact"]

_FIRST_INFERENCES = 3  # arenas grow in the first and are laid out anew in the second
_SPARE_CORES = 0.25  # what a process may have above the threads asked for before they were more


def open_artifact(directory: Path, runtime_name: str, precision: str) -> Tuple[Manifest, Artifact]:
    """The bundle's manifest and one artefact whose files are as they were exported.

    Raises:
        BundleError: the bundle lacks the artefact, or a file was changed.
    """
    manifest = read_manifest(directory)
    artifact = manifest.artifact(runtime_name, precision)
    verify_files(directory, [artifact, *artifact.companions, *(f for f in manifest.files if f.path == GOLDEN)])
    return manifest, artifact


def measure(
    directory: Path,
    runtime_name: str,
    precision: str,
    threads: int,
    protocol: LatencyProtocol,
    options: Mapping[str, str] = DEFAULTS,
    progress: Optional[Progress] = None,
    with_outputs: bool = True,
) -> Tuple[Result, Dict[str, Array]]:
    """Measure one artefact of the bundle in `directory`; call once a process, for memory is read of the whole process.

    Returns:
        The result, without drift and task metric, and, `with_outputs`, those of all golden cases by port
        (cases, *port.shape).

    Raises:
        EdgeconvError: the bundle lacks the artefact or a file was changed, or the runtime is not installed or fails.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads were asked for; at least 1 is needed.")
    manifest, artifact = open_artifact(directory, runtime_name, precision)
    progress = progress or Progress()
    cooled = _cool(protocol, progress)
    if runtime_name in TOOLS:
        if options:
            raise UsageError(f"{runtime_name} is measured by its own tool, which takes no options here.")
        result, outputs = TOOLS[runtime_name].measure(directory, manifest, artifact, threads, protocol, progress)
    else:
        result, outputs = _in_this_process(
            directory, manifest, artifact, threads, protocol, options, progress, with_outputs
        )
    return result if cooled is None else _started(result, cooled), outputs


def _in_this_process(
    directory: Path,
    manifest: Manifest,
    artifact: Artifact,
    threads: int,
    protocol: LatencyProtocol,
    options: Mapping[str, str],
    progress: Progress,
    with_outputs: bool,
) -> Tuple[Result, Dict[str, Array]]:
    runtime = get_runtime(artifact.runtime)
    try:
        with Sampler() as sampler:
            return _measure(
                directory, manifest, artifact, runtime, threads, protocol, options, progress, with_outputs, sampler
            )
    except runtime.failures() as error:
        raise RuntimeUnavailableError(f"{runtime.name} loads {artifact.path} but fails to run it: {error}") from error


def _measure(
    directory: Path,
    manifest: Manifest,
    artifact: Artifact,
    runtime: Runtime,
    threads: int,
    protocol: LatencyProtocol,
    options: Mapping[str, str],
    progress: Progress,
    with_outputs: bool,
    sampler: Sampler,
) -> Tuple[Result, Dict[str, Array]]:
    memory, path = MemoryPhases(), directory / artifact.path
    progress("load")
    version, import_ns = _timed(runtime.version)
    memory.imported()
    session, load_ns = _timed(runtime.load, path, threads, options)
    memory.loaded()
    replay = Replay(directory, manifest, artifact, session)
    inputs = replay.first_inputs()
    memory.prepared()
    sampling = Sampling(session.run, inputs, report=progress)
    first = array("q")
    sampling.extend("first", first, 0, _FIRST_INFERENCES, sampling.clock() + protocol.max_seconds * 1e9)
    memory.ran([path, *(directory / companion.path for companion in artifact.companions)])
    progress("warm-up", first)
    with collector_off():
        warmup = [*first[1:], *warm_up(sampling, protocol)]
        began = read_usage()
        samples = take_samples(sampling, protocol)
        usage = read_usage() - began
    state = sampler.finish(usage, len(samples.timed))
    progress("check", samples.timed)
    execution = _with_int8_share(session.execution(inputs), artifact.proof, session, inputs)
    outputs = replay.outputs() if with_outputs else {}
    evidence = {"version": version, **session.evidence(), "int8 instructions": _int8()}
    evidence.update(describe(samples.timed, protocol))
    evidence["cores used"] = f"{usage.cpu_ns / max(usage.wall_ns, 1):.2f}"
    checks = (
        too_few(len(samples.timed)),
        samples.unsteady,
        *invalidates(state, sustained=protocol.mode == "sustained"),
        _not_as_asked(execution, threads, usage),
    )
    reasons = [reason for reason in checks if reason]
    result = Result(
        runtime=artifact.runtime,
        precision=artifact.precision,
        valid=not reasons,
        invalid_reasons=reasons,
        artifact_sha256=artifact.sha256,
        artifact_bytes=artifact.total_bytes,
        latency_ns=make_latency(samples.timed, warmup, [len(samples.timed)]),
        import_ns=import_ns,
        load_ns=load_ns,
        first_inference_ns=first[0],
        memory=memory.finish(),
        drift=None,
        task=None,
        provider=evidence.pop("provider"),
        threads=threads,
        evidence=evidence,
        state=state,
        execution=execution,
        options=dict(options),
        mode=protocol.mode,
    )
    return result, outputs


def _cool(protocol: LatencyProtocol, progress: Progress) -> Optional[CoolDown]:
    if not protocol.cool_down_celsius:
        return None
    reader = StateReader()

    def hottest() -> Optional[float]:
        return hottest_celsius(reader.look().sample(0))

    def report() -> None:
        progress("cool-down")

    try:
        return cool_down(protocol.cool_down_celsius, protocol.cool_down_seconds, hottest, report)
    finally:
        reader.close()


def _started(result: Result, cooled: CoolDown) -> Result:
    """With how it was waited for the machine to cool, and invalid when it did not."""
    reasons = [*result.invalid_reasons, *filter(None, [cooled.failure])]
    evidence = {**result.evidence, "cool-down": str(cooled)}
    return dataclasses.replace(result, valid=not reasons, invalid_reasons=reasons, evidence=evidence)


def _timed(function: Any, *arguments: Any) -> Tuple[Any, int]:
    start = time.perf_counter_ns()
    value = function(*arguments)
    return value, time.perf_counter_ns() - start


def _int8() -> str:
    return int8_instructions(read_host().cpu_flags)


def _with_int8_share(
    execution: Execution, proof: Optional[Int8Proof], session: Session, inputs: List[Array]
) -> Execution:
    """With what was computed on integers here: by the kernels that run, else by the types in the file."""
    if proof is None or not proof.macs:
        return execution
    kernels = session.kernels(inputs)
    if kernels is not None:
        share, in_float = kernels.divide(proof.macs)
    elif proof.machine == ANY_MACHINE:
        share, in_float = proof.mac_share, proof.float_macs
    else:
        return execution
    return dataclasses.replace(execution, int8_mac_share=share, float_macs=in_float)


def _not_as_asked(execution: Execution, threads: int, usage: Usage) -> Optional[str]:
    """Why what ran is not what was asked for, in words."""
    missed = execution.share == 0 or (
        execution.share is None and execution.used not in (execution.requested, "unknown")
    )
    if missed:
        return f"{execution.requested} was asked for and {execution.used or 'nothing'} ran"
    if execution.threads is not None and execution.threads != threads:
        return f"{threads} threads were asked for and {execution.threads} were used"
    cores = usage.cpu_ns / max(usage.wall_ns, 1)
    if cores > threads + _SPARE_CORES:
        return f"{threads} threads were asked for and {cores:.1f} cores were kept busy"
    return None
