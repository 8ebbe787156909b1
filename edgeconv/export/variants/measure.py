"""Artefacts of several bundles of one model, measured on a target in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from types import TracebackType

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.campaign import run_campaign
from edgeconv.benchmarks.judging import Judge
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, TargetAgents
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import open_transport
from edgeconv.manifest import Artifact
from edgeconv.parity.verdict import judge_result
from edgeconv.records import Result

__all__ = ["Bench", "Progress", "objection"]

Progress = Callable[[int, int, str], None]
Key = tuple[int, str, str]  # bundle, runtime, precision
_THREADS = 1
_ROUNDS, _EMULATED_COUNT, _MIN_COUNT = 3, 10, 44


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
        agents = TargetAgents(self._transport, bundles)
        host = agents.host()
        self.exact = host.clock == "virtual"
        settings = RunSettings.counted(_EMULATED_COUNT) if host.emulated else self._settings(len(bundles))
        wanted = [(artifact.runtime, artifact.precision) for artifact in artifacts]
        plans: dict[Key, Artifact] = {
            (index, artifact.runtime, artifact.precision): artifact
            for index, bundle in enumerate(bundles)
            for artifact in bundle.manifest.artifacts
            if (artifact.runtime, artifact.precision) in wanted
        }
        measured = run_campaign(
            agents,
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


def objection(result: Result, bundle: Bundle) -> str:
    """Why an artefact may not be used, by the tolerance class of its precision in its bundle; empty where it may."""
    if result.drift is None:
        return "; ".join(result.invalid_reasons) or "no outputs"
    tolerance = next((t for t in bundle.manifest.tolerances if t.precision == result.precision), None)
    return "; ".join(finding.message for finding in judge_result(result, tolerance) if not finding.passed)
