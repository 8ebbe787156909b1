"""One artefact, measured in this process and then replayed on the golden cases.

Part of the device agent: Python 3.8, numpy.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from edgeconv.benchmarks.agent.feeds import make_inputs, order_specs, read_outputs
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.benchmarks.agent.host import int8_instructions, read_host
from edgeconv.benchmarks.agent.memory import METHOD, peak_rss_bytes, rss_bytes
from edgeconv.benchmarks.agent.percentiles import minimum_samples, percentile
from edgeconv.benchmarks.agent.protocol import LatencyProtocol, Samples, take_samples
from edgeconv.benchmarks.agent.state import read_state, throttling
from edgeconv.benchmarks.agent.usage import crowding, read_usage
from edgeconv.errors import BundleError, RuntimeUnavailableError, UsageError
from edgeconv.manifest import Artifact, FileEntry, Manifest, read_manifest
from edgeconv.records import Latency, Memory, Result
from edgeconv.runtimes import get_runtime
from edgeconv.runtimes.base import Array, Session

__all__ = ["measure"]

_GOLDEN = "golden/cases.npz"
_CHUNK_BYTES = 1 << 20


def measure(
    directory: Path, runtime_name: str, precision: str, threads: int, protocol: LatencyProtocol
) -> Tuple[Result, Dict[str, Array]]:
    """Measure one artefact of the bundle in `directory`; call once a process, for memory is read of the whole process.

    Returns:
        The result, without drift and task metric, and the outputs of all golden cases by port (cases, *port.shape).

    Raises:
        EdgeconvError: the bundle lacks the artefact or a file was changed, or the runtime is not installed or fails.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads were asked for; at least 1 is needed.")
    manifest = read_manifest(directory)
    artifact = manifest.artifact(runtime_name, precision)
    _verify(directory, [artifact, *artifact.companions, *(f for f in manifest.files if f.path == _GOLDEN)])
    runtime = get_runtime(runtime_name)
    before = read_state()
    version, import_ns = _timed(runtime.version)
    baseline = rss_bytes()
    session, load_ns = _timed(runtime.load, directory / artifact.path, threads)
    replay = _Replay(directory / _GOLDEN, manifest, artifact, session)
    try:
        inputs = replay.first_inputs()
        _, first_ns = _timed(session.run, inputs)
        began = read_usage()
        samples = take_samples(session.run, inputs, protocol)
        usage = read_usage() - began
        peak = peak_rss_bytes()
        after = read_state()
        outputs = replay.outputs()
    except runtime.failures() as error:
        raise RuntimeUnavailableError(f"{runtime_name} loads {artifact.path} but fails to run it: {error}") from error
    evidence = {"version": version, **session.evidence()}
    evidence["int8 instructions"] = int8_instructions(read_host().cpu_flags)
    checks = (_too_few(samples), samples.unsteady, throttling(before, after), crowding(usage, len(samples.timed)))
    reasons = [reason for reason in checks if reason]
    result = Result(
        runtime=runtime_name,
        precision=precision,
        valid=not reasons,
        invalid_reasons=reasons,
        artifact_sha256=artifact.sha256,
        artifact_bytes=artifact.total_bytes,
        latency_ns=_latency(samples),
        import_ns=import_ns,
        load_ns=load_ns,
        first_inference_ns=first_ns,
        memory=Memory(peak, baseline, METHOD),
        drift=None,
        task=None,
        provider=evidence.pop("provider"),
        threads=threads,
        evidence=evidence,
    )
    return result, outputs


class _Replay:
    """The golden cases through a session."""

    def __init__(self, golden: Path, manifest: Manifest, artifact: Artifact, session: Session) -> None:
        self._golden, self._manifest, self._session = golden, manifest, session
        self._inputs = order_specs(artifact.inputs, session.input_names)
        self._outputs = order_specs(artifact.outputs, session.output_names)

    def first_inputs(self) -> List[Array]:
        """What the artefact takes for the first case."""
        for case in read_cases(self._golden, self._manifest.inputs):
            return make_inputs(case, self._manifest.inputs, self._inputs)
        raise BundleError(f"{self._golden} has no case.")

    def outputs(self) -> Dict[str, Array]:
        """Every case's outputs, stacked."""
        stacked: Dict[str, List[Array]] = {}
        for case in read_cases(self._golden, self._manifest.inputs):
            returned = self._session.run(make_inputs(case, self._manifest.inputs, self._inputs))
            for port, array in read_outputs(returned, self._manifest.outputs, self._outputs).items():
                stacked.setdefault(port, []).append(array)
        return {port: np.stack(arrays) for port, arrays in stacked.items()}


def _timed(function: Any, *arguments: Any) -> Tuple[Any, int]:
    start = time.perf_counter_ns()
    value = function(*arguments)
    return value, time.perf_counter_ns() - start


def _latency(samples: Samples) -> Latency:
    p50, p90, p99 = (percentile(samples.timed, percent) for percent in (50, 90, 99))
    return Latency(samples.timed, p50, p90, p99, samples.warmup)


def _too_few(samples: Samples) -> Optional[str]:
    needed = minimum_samples(50)
    if len(samples.timed) >= needed:
        return None
    return f"only {len(samples.timed)} inferences were timed, the median needs {needed}"


def _verify(directory: Path, entries: List[Any]) -> None:
    for entry in entries:
        if not _unchanged(directory, FileEntry(entry.path, entry.sha256, entry.bytes)):
            raise BundleError(f"{entry.path} is missing or was changed since the export.", "Copy the bundle again.")


def _unchanged(directory: Path, entry: FileEntry) -> bool:
    pure = PurePosixPath(entry.path)
    path = directory / pure
    if pure.is_absolute() or ".." in pure.parts or not path.is_file() or os.path.getsize(str(path)) != entry.bytes:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest() == entry.sha256
