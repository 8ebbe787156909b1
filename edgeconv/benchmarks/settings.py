"""How a run measures: the latency protocol, how often, and with which settings of the runtimes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.errors import UsageError
from edgeconv.runtimes import get_runtime

__all__ = ["RunSettings", "make_settings", "parse_options"]

_ROUNDS, _ATTEMPTS = 3, 3
_BURSTS = 12  # in all rounds together: fewer first inferences say little


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """The latency protocol of every artefact of a run.

    Each artefact is measured in `rounds` fresh processes which share what `protocol` asks for, and the artefacts take
    turns.  An artefact whose samples are not steady, whose rounds disagree or whose device was busy or throttled is
    measured anew, up to `attempts` times in all; the last attempt counts, as it is.
    """

    protocol: LatencyProtocol = dataclasses.field(default_factory=LatencyProtocol)
    rounds: int = _ROUNDS
    attempts: int = _ATTEMPTS

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.attempts < 1:
            raise UsageError(f"{self.rounds} rounds and {self.attempts} attempts were asked for; at least 1 is needed.")

    @classmethod
    def quick(cls) -> RunSettings:
        """For a verdict on parity: the latencies are taken, but not for long, and not twice."""
        protocol = LatencyProtocol(min_seconds=0.1, min_count=7, extra_seconds=0.4, warmup_seconds=0.0)
        return cls(protocol, rounds=1, attempts=1)

    @classmethod
    def counted(cls, count: int) -> RunSettings:
        """By count alone and in one process, for a virtual clock, which repeats to 0.05 %."""
        protocol = LatencyProtocol(min_seconds=0.0, min_count=count, extra_seconds=0.0, warmup_seconds=0.0)
        return cls(protocol, rounds=1, attempts=1)

    @classmethod
    def sustained(cls, minutes: float, base: LatencyProtocol) -> RunSettings:
        """One long process for each artefact; that it gets slower is what is to be seen."""
        if not 0 < minutes < math.inf:
            raise UsageError(f"Sustained for {minutes:g} minutes means nothing.", "Give a number above 0, like 10.")
        protocol = dataclasses.replace(base, mode="sustained", min_seconds=minutes * 60, extra_seconds=0.0)
        return cls(protocol, rounds=1, attempts=1)

    def numbers(self) -> dict[str, float]:
        """All that is a number, for the run record."""
        protocol = dataclasses.asdict(self.protocol)
        numbers = {name: float(value) for name, value in protocol.items() if not isinstance(value, str)}
        return {**numbers, "rounds": float(self.rounds), "attempts": float(self.attempts)}


def make_settings(
    *,
    min_seconds: float | None = None,
    count: int | None = None,
    rounds: int | None = None,
    sustained: float | None = None,
    burst: int | None = None,
    cool_down: float | None = None,
) -> RunSettings | None:
    """The settings that some flags ask for; None where there is none of them, so that the target's clock can decide.

    Args:
        min_seconds: of timed inferences of each artefact, shared by the rounds.
        count: measure by count alone and not by time.
        rounds: fresh processes of each artefact.
        sustained: minutes without a break.
        burst: inferences after each rest.
        cool_down: degrees Celsius to wait for before each process.

    Raises:
        UsageError: two of them exclude each other, or a value means nothing.
    """
    asked = (min_seconds, count, rounds, sustained, burst, cool_down)
    if all(value is None for value in asked):
        return None
    if sum(value is not None for value in (sustained, burst, count)) > 1:
        raise UsageError("--sustained, --burst and --count exclude each other.")
    if sustained is not None and (rounds is not None or min_seconds is not None):
        raise UsageError("--sustained is one process of its own length; leave out --rounds and --min-seconds.")
    if count is not None and min_seconds is not None:
        raise UsageError("--count measures by count alone; leave out --min-seconds.")
    protocol = LatencyProtocol() if cool_down is None else LatencyProtocol(cool_down_celsius=cool_down)
    if sustained is not None:
        return RunSettings.sustained(sustained, protocol)
    if count is not None:
        counted = RunSettings.counted(count)
        kept = dataclasses.replace(counted.protocol, cool_down_celsius=protocol.cool_down_celsius)
        return dataclasses.replace(counted, protocol=kept, rounds=counted.rounds if rounds is None else rounds)
    if min_seconds is not None:
        protocol = dataclasses.replace(protocol, min_seconds=min_seconds)
    if burst is not None:
        protocol = dataclasses.replace(
            protocol, mode="burst", burst_count=burst, min_count=max(protocol.min_count, _BURSTS * burst)
        )
    return RunSettings(protocol, rounds=_ROUNDS if rounds is None else rounds)


def parse_options(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Options by runtime from texts such as ``onnxruntime.provider=cuda``.

    Raises:
        UsageError: a text has another form, or names no runtime; whether the option exists, the target's runtime knows.
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        runtime, dot, name = left.partition(".")
        if not (equals and dot and runtime and name and value):
            raise UsageError(
                f"{text!r} is no option of a runtime.", "Write RUNTIME.NAME=VALUE, like onnxruntime.provider=cuda."
            )
        get_runtime(runtime)
        if found.setdefault(runtime, {}).setdefault(name, value) != value:
            raise UsageError(f"{runtime}.{name} is given twice: {found[runtime][name]} and {value}.")
    return found
