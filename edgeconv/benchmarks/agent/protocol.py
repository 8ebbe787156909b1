"""The latency protocol: warm up until settled, then sample for a time and a count and until steady.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import statistics
import time
from typing import Any, Callable, List, Optional, Sequence

from edgeconv.errors import UsageError

__all__ = ["LatencyProtocol", "Samples", "take_samples", "unsteadiness"]

_WINDOWS = 3
_NS = 1_000_000_000
_WARMUP_ROUNDS = 4  # a warm-up that has not settled by then is reported by the timed windows
_EXTENSION = 0.5  # of min_seconds: what is added when the windows disagree


@dataclasses.dataclass(frozen=True)
class LatencyProtocol:
    """When a latency is measured well enough.

    Sampling goes on until `min_seconds` and `min_count` are reached and the medians of three consecutive thirds of
    all samples lie within `tolerance` of their mean, at most for `extra_seconds` beyond `min_seconds`.  With these
    defaults the slowest model that still gets its p90 takes 136 ms, the slowest that gets its p99 takes 4.3 ms.
    """

    min_seconds: float = 2.0
    min_count: int = 44
    extra_seconds: float = 4.0
    warmup_seconds: float = 0.5
    tolerance: float = 0.10

    def __post_init__(self) -> None:
        times = (self.min_seconds, self.extra_seconds, self.warmup_seconds)
        if not all(0 <= seconds < math.inf for seconds in times) or self.min_count < 1 or not self.tolerance > 0:
            raise UsageError("The latency protocol needs finite times >= 0, a count >= 1 and a tolerance > 0.")

    @property
    def max_seconds(self) -> float:
        """When sampling ends, steady or not."""
        return self.min_seconds + self.extra_seconds


@dataclasses.dataclass(frozen=True)
class Samples:
    """Nanoseconds of every inference in order; `unsteady` says why the timed ones do not describe one state."""

    warmup: List[int]
    timed: List[int]
    unsteady: Optional[str]


def take_samples(
    run: Callable[[List[Any]], List[Any]],
    inputs: List[Any],
    protocol: LatencyProtocol,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Samples:
    """Time ``run(inputs)`` by `protocol`, with Python's garbage collector off.

    No sample is dropped or clipped.  Releasing the outputs is not timed.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        warmup = _warm_up(run, inputs, protocol, clock)
        timed: List[int] = []
        began, rounds = clock(), protocol.min_seconds
        while True:
            limit = min(rounds, protocol.max_seconds)
            _extend(timed, run, inputs, began, limit, protocol.min_count, protocol.max_seconds, clock)
            unsteady = unsteadiness(timed, protocol.tolerance)
            if unsteady is None or (clock() - began) >= protocol.max_seconds * _NS:
                return Samples(warmup, timed, unsteady)
            rounds = (clock() - began) / _NS + protocol.min_seconds * _EXTENSION
    finally:
        if enabled:
            gc.enable()


def unsteadiness(samples: Sequence[int], tolerance: float) -> Optional[str]:
    """Why the samples drift or jump, in words; None when consecutive thirds agree or there are too few to tell."""
    size = len(samples) // _WINDOWS
    if size == 0:
        return None
    medians = [statistics.median(samples[i * size : (i + 1) * size]) for i in range(_WINDOWS)]
    mean = statistics.mean(medians)
    if all(abs(median - mean) <= tolerance * mean for median in medians):
        return None
    shown = ", ".join(f"{median / 1e6:.3g}" for median in medians)
    return f"latency is not steady: medians of consecutive thirds are {shown} ms, more than {tolerance:.0%} apart"


def _warm_up(
    run: Callable[[List[Any]], List[Any]], inputs: List[Any], protocol: LatencyProtocol, clock: Callable[[], int]
) -> List[int]:
    samples: List[int] = []
    for _ in range(_WARMUP_ROUNDS):
        latest: List[int] = []
        seconds = protocol.warmup_seconds
        _extend(latest, run, inputs, clock(), seconds, _WINDOWS, max(seconds, protocol.max_seconds), clock)
        samples.extend(latest)
        if unsteadiness(latest, protocol.tolerance) is None:
            break
    return samples


def _extend(
    samples: List[int],
    run: Callable[[List[Any]], List[Any]],
    inputs: List[Any],
    began: int,
    seconds: float,
    count: int,
    max_seconds: float,
    clock: Callable[[], int],
) -> None:
    """Add samples until `seconds` after `began` and `count` in all, at least one, none begun after `max_seconds`."""
    until, latest = began + int(seconds * _NS), began + int(max_seconds * _NS)
    while True:
        start = clock()
        outputs = run(inputs)
        end = clock()
        samples.append(end - start)
        del outputs
        if end >= latest or (end >= until and len(samples) >= count):
            return
