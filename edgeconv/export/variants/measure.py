"""Artefacts of several bundles of one model, measured on a target in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.campaign import Measured, run_campaign
from edgeconv.benchmarks.judging import Judge
from edgeconv.benchmarks.ratios import Ratio, exact_ratio, quantile_ratio
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, TargetAgent
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import open_transport
from edgeconv.manifest import Artifact
from edgeconv.parity.verdict import judge_result
from edgeconv.records import Result

__all__ = ["Bench", "Progress", "objection", "ratio_of"]

Progress = Callable[[int, int, str], None]
Key = tuple[int, str, str]  # bundle, runtime, precision
_THREADS = 1
_ROUNDS, _EMULATED_COUNT, _MIN_COUNT = 3, 10, 44
_MEDIAN = 0.5


class Bench:
    """A target for the length of a block.

    Raises:
        DeviceError: it cannot be reached.
    """

    def __init__(self, target: str, seconds: float, progress: Progress) -> None:
        self._target, self._seconds, self._progress = target, seconds, progress
        self._stack = ExitStack()
        self.exact = False

    def __enter__(self) -> Bench:
        self._transport = self._stack.enter_context(closing(open_transport(self._target)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def measure(self, bundles: Sequence[Bundle], artifacts: Sequence[Artifact]) -> dict[Key, Result]:
        """The results of what each bundle has of `artifacts`, with drift; the bundles take turns.

        Raises:
            DeviceError: a bundle cannot be sent, or its agent does not run there.
        """
        plans: dict[Key, Artifact] = {}
        agents: dict[str, TargetAgent] = {}
        wanted = [(artifact.runtime, artifact.precision) for artifact in artifacts]
        for index, bundle in enumerate(bundles):
            agent = TargetAgent(self._transport, bundle)
            if index == 0:
                host = agent.host()
                self.exact = host.clock == "virtual"
                settings = RunSettings.counted(_EMULATED_COUNT) if host.emulated else self._settings(len(bundles))
            for artifact in bundle.manifest.artifacts:
                if (artifact.runtime, artifact.precision) in wanted:
                    plans[index, artifact.runtime, artifact.precision] = artifact
                    agents[artifact.sha256] = agent
        measured = run_campaign(
            _Agents(agents),
            [Measurement(artifact, _THREADS, settings.protocol) for artifact in plans.values()],
            settings,
            self._progress,
        )
        judges = [Judge(bundle) for bundle in bundles]
        return {
            key: judges[key[0]].complete(result, outputs, plans[key])
            for key, (result, outputs) in zip(plans, measured, strict=True)
        }

    def _settings(self, graphs: int) -> RunSettings:
        share = self._seconds / graphs
        return RunSettings(LatencyProtocol(min_seconds=share, min_count=_MIN_COUNT, extra_seconds=share), _ROUNDS, 1)


class _Agents:
    """Measures each artefact with the agent of the bundle that it is in."""

    def __init__(self, agents: Mapping[str, TargetAgent]) -> None:
        self._agents = agents

    def measure(self, measurement: Measurement) -> Measured:
        """In a fresh process."""
        return self._agents[measurement.artifact.sha256].measure(measurement)


def ratio_of(base: Result, result: Result, *, exact: bool) -> Ratio | None:
    """Of the median latencies; None where one of them has no samples."""
    if not base.latency_ns.samples or not result.latency_ns.samples:
        return None
    return (exact_ratio if exact else quantile_ratio)(_rounds(base), _rounds(result), _MEDIAN)


def objection(result: Result, bundle: Bundle) -> str:
    """Why an artefact may not be used, by the tolerance class of its precision in its bundle; empty where it may."""
    if result.drift is None:
        return "; ".join(result.invalid_reasons) or "no outputs"
    tolerance = next((t for t in bundle.manifest.tolerances if t.precision == result.precision), None)
    return "; ".join(finding.message for finding in judge_result(result, tolerance) if not finding.passed)


def _rounds(result: Result) -> list[npt.NDArray[np.float64]]:
    samples = np.asarray(result.latency_ns.samples, np.float64)
    return np.split(samples, np.cumsum(result.latency_ns.rounds)[:-1]) if result.latency_ns.rounds else [samples]
