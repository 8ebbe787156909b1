"""The bundle's own agent on a target."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.agent.tools import TOOLS
from edgeconv.benchmarks.agent.tune import TuningOutcome
from edgeconv.bundles import AGENT_PATH, Bundle
from edgeconv.devices.agent_words import failure_words
from edgeconv.devices.environment import prepare_python
from edgeconv.devices.fit import refuse_misfit
from edgeconv.devices.jobs import Progress, ignore_progress, run_job
from edgeconv.devices.transports import Completed, PushProgress, Transport
from edgeconv.devices.transports.base import ignore_progress as ignore_bytes
from edgeconv.devices.transports.local import LocalTransport
from edgeconv.errors import DeviceError, RuntimeUnavailableError
from edgeconv.manifest import Artifact
from edgeconv.records import Host, Latency, Memory, Result
from edgeconv.schema import SchemaError, from_dict

__all__ = ["Measurement", "TargetAgent", "TargetAgents", "failed_result"]

_QUIET = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
_OVERHEAD_SECONDS = 240  # import, load and golden cases of a slow machine, on top of the timed part
_TUNING_FACTOR = 30  # loading each candidate anew takes longer than running it
Outputs = dict[str, npt.NDArray[Any]]
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One artefact to be measured in a fresh process, and how; without `replay` its outputs are not asked for."""

    artifact: Artifact
    threads: int
    protocol: LatencyProtocol
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of the runtime
    replay: bool = True

    @property
    def timeout_seconds(self) -> float:
        """When it is given up."""
        tool = TOOLS.get(self.artifact.runtime)
        return _OVERHEAD_SECONDS + self.protocol.deadline_seconds + (tool.overhead_seconds if tool else 0)

    def arguments(self) -> list[str]:
        """Of the agent's `run`."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in dataclasses.asdict(self.protocol).items()]
        options = [f"--option={name}={value}" for name, value in self.options.items()]
        what = ["--runtime", self.artifact.runtime, "--precision", self.artifact.precision]
        return [*what, "--threads", str(self.threads), *flags, *options]


class TargetAgent:
    """The bundle's agent on a target, where its long commands survive a connection that drops.

    Args:
        transport: of the target.
        bundle: sent there, as far as the target does not have it.
        on_progress: called with what the agent tells while it measures, about once a second.
        on_bytes: called with the bytes that were sent and those to send.

    Raises:
        DeviceError: the bundle is for another kind of machine, or cannot be sent, or no Python there can run it.
    """

    def __init__(
        self,
        transport: Transport,
        bundle: Bundle,
        on_progress: Progress = ignore_progress,
        on_bytes: PushProgress = ignore_bytes,
    ) -> None:
        self._environment = dict(_QUIET)
        if not isinstance(transport, LocalTransport):  # here one may look at any device's bundle
            refuse_misfit("The target", transport.system, bundle.manifest.device)
            self._environment["EDGECONV_AGENT_FOLDER"] = f"{transport.folder}/agents/{_agent_key(bundle)}"
        self._transport, self._on_progress = transport, on_progress
        self._directory = transport.push(bundle.directory, progress=on_bytes)
        self._agent = [*prepare_python(transport, bundle, self._directory), f"{self._directory}/{AGENT_PATH}"]
        self._jobs, self._bundle_key = 0, bundle.manifest_sha256[:12]

    def host(self) -> Host:
        """The machine that it runs on."""
        done = self._transport.run(
            [*self._agent, "host"], environment=self._environment, timeout_seconds=_OVERHEAD_SECONDS
        )
        try:
            return from_dict(Host, json.loads(done.stdout))
        except (json.JSONDecodeError, SchemaError) as error:
            raise DeviceError(
                f"The bundle's agent does not run on the target: {failure_words(done)}.",
                "It needs Python 3.8 or later; the bundle's README says how to run it by hand.",
            ) from error

    def measure(self, measurement: Measurement) -> tuple[Result, Outputs]:
        """One artefact in a fresh process; the outputs are empty where it failed."""
        try:
            arguments, seconds = measurement.arguments(), measurement.timeout_seconds
            return self._collect(Result, "run", arguments, seconds, with_outputs=measurement.replay)
        except RuntimeUnavailableError as error:
            return failed_result(measurement.artifact, measurement.threads, str(error)), {}

    def tune(self, artifact: Artifact, seconds: float) -> tuple[TuningOutcome, Outputs]:
        """Settings of one artefact's runtime, tried on the target; the finalists' outputs by "<index>.<port>".

        Raises:
            RuntimeUnavailableError: the artefact runs with no setting.
        """
        arguments = ["--runtime", artifact.runtime, "--precision", artifact.precision, f"--seconds={seconds}"]
        return self._collect(TuningOutcome, "tune", arguments, _OVERHEAD_SECONDS + _TUNING_FACTOR * seconds)

    def _collect(
        self, kind: type[_T], verb: str, arguments: Sequence[str], timeout_seconds: float, with_outputs: bool = True
    ) -> tuple[_T, Outputs]:
        """What a verb of the agent writes: its JSON as `kind` and its arrays."""
        self._jobs += 1
        # Agents of several bundles may share a transport, and a folder that is there already means a job to attend to.
        folder = f"{self._transport.workspace}/{self._bundle_key}-{self._jobs}-{verb}"
        result_path, outputs_path = f"{folder}.json", f"{folder}.npz"
        where = ["--bundle", self._directory, "--json", result_path]
        where += ["--outputs", outputs_path] if with_outputs else []
        end = run_job(
            self._transport,
            self._agent,
            [verb, *where, *arguments],
            directory=folder,
            environment=self._environment,
            timeout_seconds=timeout_seconds,
            on_progress=self._on_progress,
        )
        if end.reason:
            raise RuntimeUnavailableError(end.reason)
        if end.returncode != 0:
            raise RuntimeUnavailableError(failure_words(Completed(end.returncode, "", end.stderr)))
        try:
            result = from_dict(kind, json.loads(self._transport.pull(result_path)))
            if not with_outputs:
                return result, {}
            with np.load(io.BytesIO(self._transport.pull(outputs_path)), allow_pickle=False) as arrays:
                return result, dict(arrays)
        except (SchemaError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise RuntimeUnavailableError(f"the agent's result cannot be read: {error}") from error


class TargetAgents:
    """The agents of several bundles on one target: each artefact is measured by that of the bundle it is in.

    Raises:
        DeviceError: as `TargetAgent`.
    """

    def __init__(self, transport: Transport, bundles: Sequence[Bundle]) -> None:
        agents = [TargetAgent(transport, bundle) for bundle in bundles]
        self._first = agents[0]
        self._agents = {
            artifact.sha256: agent
            for agent, bundle in zip(agents, bundles, strict=True)
            for artifact in bundle.manifest.artifacts
        }

    def host(self) -> Host:
        """The machine that they run on."""
        return self._first.host()

    def measure(self, measurement: Measurement) -> tuple[Result, Outputs]:
        """One artefact in a fresh process; the outputs are empty where it failed."""
        return self._agents[measurement.artifact.sha256].measure(measurement)


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


def _agent_key(bundle: Bundle) -> str:
    """Where the agent's modules lie unpacked on a target, so that Python can keep their byte code."""
    return next((entry.sha256[:16] for entry in bundle.manifest.files if entry.path == AGENT_PATH), "unknown")
