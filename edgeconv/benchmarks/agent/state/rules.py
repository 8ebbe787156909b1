"""Whether the device was fit for measuring.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import dataclasses
import statistics
from typing import List, Optional, Sequence, Tuple

from edgeconv.benchmarks.agent.state.look import Look
from edgeconv.benchmarks.agent.usage import Usage, crowding, others_share
from edgeconv.records import DeviceState

__all__ = ["BUSY", "CLEAN", "THROTTLED", "UNKNOWN", "Limits", "invalidates", "judge"]

CLEAN, THROTTLED, BUSY, UNKNOWN = "clean", "throttled", "busy", "unknown"
_SLOW_GOVERNOR = "powersave"
_SLOW_MODE = "battery saver"


@dataclasses.dataclass(frozen=True)
class Limits:
    """`max_clock_drop`: part of its reference clock that the fastest policy may lack, in the median of the looks.

    `max_others_share`: part of the machine's processor time that other processes may have.
    """

    max_clock_drop: float = 0.1
    max_others_share: float = 0.25


def judge(looks: Sequence[Look], usage: Usage, inferences: int, limits: Limits) -> Tuple[str, List[str]]:
    """The verdict over a timed span and its reasons; "clean" alone has none.

    Args:
        looks: at the device, in order, best from before the span until after it.
        usage: of the timed span.
        inferences: how many were timed in it.
        limits: what is still clean.
    """
    watched = _around(looks, usage.begin_ns, usage.end_ns)
    throttled = [
        *_told(watched),
        *_slow_clock(_inside(looks, usage.begin_ns, usage.end_ns), limits),
        *_capped(looks),
        *_hot(watched),
        *_slow_settings(watched),
    ]
    busy = _busy(usage, inferences, limits)
    if throttled:
        return THROTTLED, throttled + busy
    if busy:
        return BUSY, busy
    unknown = _unknown(looks, watched, usage)
    return (UNKNOWN, unknown) if unknown else (CLEAN, [])


def invalidates(state: DeviceState, sustained: bool = False) -> List[str]:
    """Why a measurement in this state counts for nothing; [] when it counts.  Not knowing is no reason.

    In a `sustained` measurement throttling is what is to be seen, not a reason.
    """
    return list(state.reasons) if state.verdict == BUSY or (state.verdict == THROTTLED and not sustained) else []


def _inside(looks: Sequence[Look], begin_ns: int, end_ns: int) -> List[Look]:
    return [look for look in looks if begin_ns <= look.at_ns <= end_ns]


def _around(looks: Sequence[Look], begin_ns: int, end_ns: int) -> List[Look]:
    """Those inside, the last one before and the first one after: flags and heat do not come and go in a second."""
    before = [look for look in looks if look.at_ns < begin_ns][-1:]
    after = [look for look in looks if look.at_ns > end_ns][:1]
    return [*before, *_inside(looks, begin_ns, end_ns), *after]


def _told(looks: Sequence[Look]) -> List[str]:
    words = [word for look in looks for word in look.reading.throttled or []]
    return [f"the device says: {word}" for word in dict.fromkeys(words)]


def _slow_clock(looks: Sequence[Look], limits: Limits) -> List[str]:
    """Only under load, and only the fastest policy: the clusters that have nothing to do idle at their lowest clock."""
    shares = [share for share in map(_clock_share, looks) if share is not None]
    if not shares or statistics.median(shares) >= 1 - limits.max_clock_drop:
        return []
    return [f"the clock was at {statistics.median(shares):.0%} of what it should hold"]


def _clock_share(look: Look) -> Optional[float]:
    reference = look.reading.reference_khz
    clocks = look.reading.frequencies_khz
    return max((clocks[name] / reference[name] for name in clocks if reference.get(name)), default=None)


def _capped(looks: Sequence[Look]) -> List[str]:
    """A clock limit that fell while we looked: whoever lowered it, the first and the last inference differ."""
    if not looks:
        return []
    first = looks[0].reading.reference_khz
    fallen = {
        name
        for look in looks[1:]
        for name, khz in look.reading.reference_khz.items()
        if name in first and khz < first[name]
    }
    return [f"the clock limit of {', '.join(sorted(fallen))} was lowered during the run"] if fallen else []


def _hot(looks: Sequence[Look]) -> List[str]:
    hot = {
        name: celsius
        for look in looks
        for name, celsius in look.reading.temperatures_celsius.items()
        if celsius >= look.reading.trips_celsius.get(name, float("inf"))
    }
    return [f"{name} reached {celsius:.0f} °C, where the system slows down" for name, celsius in hot.items()]


def _slow_settings(looks: Sequence[Look]) -> List[str]:
    reasons = []
    if any(_SLOW_GOVERNOR in look.reading.governors.values() for look in looks):
        reasons.append("the governor powersave holds the clock at its lowest")
    if any(look.reading.power_mode == _SLOW_MODE for look in looks):
        reasons.append("battery saver is on")
    return reasons


def _busy(usage: Usage, inferences: int, limits: Limits) -> List[str]:
    share, crowded = others_share(usage), crowding(usage, inferences)
    reasons = [crowded] if crowded else []
    if share is not None and share > limits.max_others_share:
        reasons.append(f"other processes had {share:.0%} of the machine's processor time")
    return reasons


def _unknown(looks: Sequence[Look], watched: Sequence[Look], usage: Usage) -> List[str]:
    reasons = []
    if not looks:
        return ["the device was not watched"]
    if looks[-1].at_ns < usage.end_ns:
        reasons.append("the device was not watched to the end")
    if others_share(usage) is None:
        reasons.append("the system does not tell what other processes did")
    clock = any(_clock_share(look) is not None for look in _inside(looks, usage.begin_ns, usage.end_ns))
    flags = any(look.reading.throttled is not None for look in watched)
    heat = any(set(look.reading.trips_celsius) & set(look.reading.temperatures_celsius) for look in watched)
    if not (clock or flags or heat):
        reasons.append("the system tells neither its clock nor whether it is throttled")
    return reasons
