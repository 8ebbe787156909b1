"""Several artefacts in rounds of fresh processes that take turns, and once more those that were not steady."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from edgeconv.benchmarks.rounds import Round, interleaved, is_unstable, merge_rounds
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement
from edgeconv.records import Result

__all__ = ["Measured", "Measurer", "Progress", "run_campaign"]

Progress = Callable[[int, int, str], None]
Measured = tuple[Result, dict[str, npt.NDArray[Any]]]


class Measurer(Protocol):
    """Something that measures an artefact in a fresh process on a target; `TargetAgent` does."""

    def measure(self, measurement: Measurement) -> Measured:
        """The result and the outputs of the golden cases; an artefact that fails is a result too, without outputs."""
        ...


def run_campaign(
    agent: Measurer,
    measurements: Sequence[Measurement],
    settings: RunSettings,
    progress: Progress = lambda done, total, description: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Measured]:
    """Measure each of `measurements`, in their order; the protocol of each is shared out over the rounds.

    An artefact that gives no samples (it does not load, it crashes) is not tried in further rounds.
    """
    total, done = settings.rounds * len(measurements), 0
    finished: dict[int, Measured] = {}
    pending = list(range(len(measurements)))
    earlier: dict[int, list[str]] = {index: [] for index in pending}
    for attempt in range(1, settings.attempts + 1):
        rounds: dict[int, list[Round]] = {index: [] for index in pending}
        for number in range(settings.rounds):
            for index in interleaved(pending, number):
                progress(done, total, _name(measurements[index], number, settings.rounds, attempt))
                done += 1
                if rounds[index] and not rounds[index][-1].result.latency_ns.samples:
                    continue
                started = clock()
                result, outputs = agent.measure(_part(measurements[index], number, settings.rounds))
                rounds[index].append(Round(result, started))
                if number == 0 or not result.latency_ns.samples:
                    finished[index] = result, outputs
        for index in pending:
            merged = merge_rounds(rounds[index], settings.protocol)
            evidence = {**merged.evidence, **{f"attempt {i}": why for i, why in enumerate(earlier[index], 1)}}
            finished[index] = dataclasses.replace(merged, attempts=attempt, evidence=evidence), finished[index][1]
            earlier[index].append("; ".join(merged.invalid_reasons))
        pending = [index for index in pending if is_unstable(rounds[index], settings.protocol)]
        if not pending:
            break
        total += settings.rounds * len(pending) if attempt < settings.attempts else 0
    progress(total, total, "done")
    return [finished[index] for index in range(len(measurements))]


def _part(measurement: Measurement, number: int, rounds: int) -> Measurement:
    """One round's part of it; the outputs of the golden cases are those of the first."""
    return dataclasses.replace(measurement, protocol=measurement.protocol.share(rounds), replay=number == 0)


def _name(measurement: Measurement, number: int, rounds: int, attempt: int) -> str:
    name = f"{measurement.artifact.runtime} {measurement.artifact.precision}"
    counts = [f"round {number + 1} of {rounds}"] if rounds > 1 else []
    counts += [f"attempt {attempt}"] if attempt > 1 else []
    return f"{name} ({', '.join(counts)})" if counts else name
