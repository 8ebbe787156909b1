"""The bundle's own agent on a target."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import Completed, Transport
from edgeconv.errors import DeviceError
from edgeconv.manifest import Artifact
from edgeconv.records import Host, Latency, Memory, Result
from edgeconv.schema import SchemaError, from_dict

__all__ = ["TargetAgent", "failed_result"]

_QUIET = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
_OVERHEAD_SECONDS = 240  # import, load and golden cases of a slow machine, on top of the timed part


class TargetAgent:
    """The bundle's agent on a target."""

    def __init__(self, transport: Transport, bundle: Bundle, threads: int, settings: LatencyProtocol) -> None:
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
            return failed_result(artifact, self._threads, self._words(done)), {}
        try:
            result = from_dict(Result, json.loads(self._transport.pull(result_path)))
            with np.load(io.BytesIO(self._transport.pull(outputs_path)), allow_pickle=False) as arrays:
                return result, dict(arrays)
        except (SchemaError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            return failed_result(artifact, self._threads, f"the agent's result cannot be read: {error}"), {}

    def _run(self, *arguments: str) -> Completed:
        command = [*self._transport.python, f"{self._directory}/agent.pyz", *arguments]
        return self._transport.run(command, environment=_QUIET, timeout_seconds=self._timeout_seconds)

    def _words(self, done: Completed) -> str:
        return f"it took longer than {self._timeout_seconds:.0f} s" if done.returncode is None else _reason(done)


def failed_result(artifact: Artifact, threads: int, reason: str) -> Result:
    """The row of an artefact that could not be measured."""
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
