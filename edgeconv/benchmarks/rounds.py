"""One result out of several fresh processes of the same artefact, and the order in which they run."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Sequence
from typing import TypeVar

from edgeconv.benchmarks.agent.modes import describe
from edgeconv.benchmarks.agent.percentiles import make_latency, too_few
from edgeconv.benchmarks.agent.protocol import LatencyProtocol, unsteadiness
from edgeconv.records import DeviceState, Memory, Result

__all__ = ["Round", "disagreement", "interleaved", "is_unstable", "merge_rounds"]

_TRANSIENT = ("throttled", "busy")  # verdicts on a device that may be another one a minute later
_SEVERITY = ("clean", "unknown", "busy", "throttled")

_NUMBER = re.compile(r"[0-9.]+")

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Round:
    """What one fresh process found, and when it was started (seconds on the host's clock)."""

    result: Result
    started_seconds: float


def interleaved(items: Sequence[_T], round_index: int) -> list[_T]:
    """The order of a round: every other one runs backwards, and each pair of rounds starts with another item.

    So no artefact always follows the same one or is always the last, when the machine is at its hottest.
    """
    order = list(reversed(items)) if round_index % 2 else list(items)
    shift = (round_index + 1) // 2 * max(1, len(order) // 3) % len(order)
    return [*order[shift:], *order[:shift]]


def merge_rounds(rounds: Sequence[Round], protocol: LatencyProtocol) -> Result:
    """All samples in order with the figures of all; a round that is invalid makes the whole invalid.

    A round without samples is the result: the artefact failed.
    Times of the start are medians, memory is that of the round with the highest peak.  Nothing is averaged away: rounds
    whose medians differ by more than the tolerance of `protocol` are a reason to be invalid.
    """
    results = [one.result for one in rounds]
    first, counts = results[0], [len(result.latency_ns.samples) for result in results]
    if 0 in counts:
        return results[counts.index(0)]
    if len(results) == 1:
        return first
    samples = [sample for result in results for sample in result.latency_ns.samples]
    found: list[str | None] = [too_few(len(samples)), *_shared_reasons(results)]
    if first.mode != "sustained":
        found.append(disagreement(results, protocol.tolerance))
    reasons = list(dict.fromkeys(reason for reason in found if reason))
    return dataclasses.replace(
        first,
        valid=not reasons,
        invalid_reasons=reasons,
        latency_ns=make_latency(samples, [w for result in results for w in result.latency_ns.warmup], counts),
        import_ns=_median([result.import_ns for result in results]),
        load_ns=_median([result.load_ns for result in results]),
        first_inference_ns=_median([result.first_inference_ns for result in results]),
        memory=max((result.memory for result in results), key=_peak),
        evidence={**first.evidence, **describe(samples, protocol)},
        state=_merge_states(rounds),
    )


def disagreement(results: Sequence[Result], tolerance: float) -> str | None:
    """Why the rounds describe different states, in words; None when their medians lie within `tolerance`."""
    medians = [statistics.median(r.latency_ns.samples) for r in results if r.latency_ns.samples]
    mean = statistics.mean(medians) if medians else 0.0
    if all(abs(median - mean) <= tolerance * mean for median in medians):
        return None
    shown = ", ".join(f"{median / 1e6:.3g}" for median in medians)
    return f"rounds do not agree: medians of fresh processes are {shown} ms, more than {tolerance:.0%} apart"


def is_unstable(rounds: Sequence[Round], protocol: LatencyProtocol) -> bool:
    """Whether measuring again may help: it is invalid for what the machine did and not for what the artefact is."""
    results = [one.result for one in rounds]
    if any(r.state is not None and r.state.verdict in _TRANSIENT for r in results):
        return protocol.mode != "sustained"
    if protocol.mode == "sustained":
        return False
    unit = protocol.burst_count if protocol.mode == "burst" else 1
    restless = any(unsteadiness(r.latency_ns.samples, protocol.tolerance, unit) for r in results)
    return restless or disagreement(results, protocol.tolerance) is not None


def _shared_reasons(results: Sequence[Result]) -> list[str]:
    """The reasons of all rounds, each kind once in the words of its first round; not that one alone has few samples."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for number, result in enumerate(results, 1):
        for reason in result.invalid_reasons:
            if reason != too_few(len(result.latency_ns.samples)):
                kinds.setdefault(_NUMBER.sub("#", reason), []).append((number, reason))
    told = []
    for first, *others in kinds.values():
        also = ", ".join(str(number) for number, _ in others)
        told.append(f"{first[1]} (round {first[0]}{f'; likewise {also}' if also else ''})")
    return told


def _median(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known)) if known else None


def _peak(memory: Memory) -> int:
    return memory.peak_rss_bytes or 0


def _merge_states(rounds: Sequence[Round]) -> DeviceState | None:
    """The states in a row, each one's samples moved to when its round was started; the worst verdict counts."""
    told = [(one.started_seconds - rounds[0].started_seconds, one.result.state) for one in rounds if one.result.state]
    if not told:
        return None
    states = [state for _, state in told]
    joules = [state.energy_joules for state in states if state.energy_joules is not None]
    shares = [state.others_cpu_share for state in states if state.others_cpu_share is not None]
    worst = max(states, key=lambda state: _SEVERITY.index(state.verdict) if state.verdict in _SEVERITY else 0)
    return dataclasses.replace(
        states[-1],
        samples=[
            dataclasses.replace(sample, at_seconds=offset + sample.at_seconds)
            for offset, state in told
            for sample in state.samples
        ],
        others_cpu_share=max(shares, default=None),
        energy_joules=sum(joules) if len(joules) == len(states) else None,
        verdict=worst.verdict,
        reasons=list(dict.fromkeys(reason for state in states for reason in state.reasons)),
    )
