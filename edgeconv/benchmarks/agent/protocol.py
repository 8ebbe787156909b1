"""The latency protocol: warm up until settled, then sample for a time and a count and until steady.

The same code measures on every target.  Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import statistics
import time
from array import array
from typing import Any, Callable, Iterator, List, Optional, Sequence

from edgeconv.errors import UsageError

__all__ = ["MODES", "LatencyProtocol", "Samples", "Sampling", "take_samples", "unsteadiness"]

MODES = ("steady", "sustained", "burst")
_WINDOWS = 3
_NS = 1_000_000_000
_WARMUP_ROUNDS = 4  # a warm-up that has not settled by then is reported by the timed windows
_COUNT_ALONE_SECONDS = 3600.0  # with neither min_seconds nor extra_seconds
_EXTENSION = 0.5  # of min_seconds: what is added when the windows disagree

Run = Callable[[List[Any]], List[Any]]
Clock = Callable[[], int]
Report = Callable[[str, Sequence[int]], None]  # the phase and its samples so far


@dataclasses.dataclass(frozen=True)
class LatencyProtocol:
    """When a latency is measured well enough, in one process.

    steady: sampling goes on until `min_seconds` and `min_count` are reached and the medians of three consecutive thirds
    of all samples lie within `tolerance` of their mean, at most for `extra_seconds` beyond `min_seconds`.  With no
    `min_seconds` and no `extra_seconds` the count alone decides.  With these defaults the slowest model that still gets
    its p90 takes 125 ms, the slowest that gets its p99 takes 3.2 ms without an extension.

    sustained: `min_seconds` alone; that the latency changes is what is to be seen.

    burst: as steady, in bursts of `burst_count` inferences after `idle_seconds` of sleep each: what an application sees
    that wakes up.

    Before anything is loaded the process waits until the hottest zone is below `cool_down_celsius` (0: it does not),
    at most for `cool_down_seconds`.
    """

    mode: str = "steady"
    min_seconds: float = 1.5
    min_count: int = 44
    extra_seconds: float = 4.0
    warmup_seconds: float = 0.25
    tolerance: float = 0.10
    burst_count: int = 10
    idle_seconds: float = 0.5
    cool_down_celsius: float = 0.0
    cool_down_seconds: float = 600.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"No mode is called {self.mode!r}.", f"There are: {', '.join(MODES)}.")
        times = (self.min_seconds, self.extra_seconds, self.warmup_seconds, self.idle_seconds, self.cool_down_seconds)
        counts = (self.min_count, self.burst_count)
        numbers = (*times, self.cool_down_celsius, self.tolerance)
        finite = all(0 <= number < math.inf for number in numbers)
        if not finite or min(counts) < 1 or not self.tolerance > 0:
            raise UsageError(
                "The latency protocol needs finite times and temperatures >= 0, counts >= 1 and a tolerance > 0."
            )

    @property
    def max_seconds(self) -> float:
        """When sampling ends, steady or not, and with it the wait for `min_count`."""
        return self.min_seconds + self.extra_seconds or _COUNT_ALONE_SECONDS

    @property
    def deadline_seconds(self) -> float:
        """When whoever waits for this protocol can give up: cool-down, warm-up and a last slow inference included."""
        cool_down = self.cool_down_seconds if self.cool_down_celsius else 0
        return cool_down + _WARMUP_ROUNDS * self.warmup_seconds + 2 * self.max_seconds + self.idle_seconds

    def share(self, rounds: int) -> LatencyProtocol:
        """What each of several processes contributes; each warms up as if it were alone."""
        if rounds < 1:
            raise UsageError(f"{rounds} rounds were asked for; at least 1 is needed.")
        return dataclasses.replace(
            self,
            min_seconds=self.min_seconds / rounds,
            min_count=-(-self.min_count // rounds),
            extra_seconds=self.extra_seconds / rounds,
        )


@dataclasses.dataclass(frozen=True)
class Samples:
    """Nanoseconds of every timed inference in order; `unsteady` says why they do not describe one state."""

    timed: List[int]
    unsteady: Optional[str]


class Sampling:
    """One session that is being timed: calls, clock, and whom to tell between two inferences."""

    def __init__(
        self,
        run: Run,
        inputs: List[Any],
        clock: Clock = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
        report: Optional[Report] = None,
        report_seconds: float = 1.0,
    ) -> None:
        self.run, self.inputs, self.clock, self.sleep = run, inputs, clock, sleep
        self._report, self._report_ns, self._reported = report, int(report_seconds * _NS), clock()

    def extend(self, phase: str, samples: array[int], until_ns: float, count: int, latest_ns: float) -> None:
        """Add samples until `until_ns` is past and there are `count`, at least one, none begun after `latest_ns`.

        Only the inference itself lies between the two readings of the clock; releasing the outputs does not, nor does
        the report about once a second.
        """
        run, inputs, clock, append = self.run, self.inputs, self.clock, samples.append
        while True:
            start = clock()
            outputs = run(inputs)
            end = clock()
            append(end - start)
            del outputs
            if end >= latest_ns or (end >= until_ns and len(samples) >= count):
                return
            if self._report is not None and end - self._reported >= self._report_ns:
                self._report(phase, samples)
                self._reported = clock()


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Python's garbage collector does not run meanwhile."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def warm_up(sampling: Sampling, protocol: LatencyProtocol) -> List[int]:
    """Run until thirds of what was run last agree, a few times `warmup_seconds` at most; all of it is returned."""
    samples: List[int] = []
    seconds = protocol.warmup_seconds
    for _ in range(_WARMUP_ROUNDS):
        latest, began = array("q"), sampling.clock()
        limit = began + max(seconds, protocol.max_seconds) * _NS
        sampling.extend("warm-up", latest, began + seconds * _NS, _WINDOWS, limit)
        samples.extend(latest)
        if unsteadiness(latest, protocol.tolerance) is None:
            break
    return samples


def take_samples(sampling: Sampling, protocol: LatencyProtocol) -> Samples:
    """Time a session by `protocol`; no sample is dropped or clipped."""
    timed = _MODES[protocol.mode](sampling, protocol)
    if protocol.mode == "sustained":
        return Samples(timed.tolist(), None)
    unit = protocol.burst_count if protocol.mode == "burst" else 1
    return Samples(timed.tolist(), unsteadiness(timed, protocol.tolerance, unit))


def unsteadiness(samples: Sequence[int], tolerance: float, unit: int = 1) -> Optional[str]:
    """Why the samples drift or jump, in words; None when consecutive thirds agree or there are too few to tell.

    `unit` samples belong together (a burst) and are not torn apart.
    """
    size = len(samples) // unit // _WINDOWS * unit
    if size == 0:
        return None
    medians = [statistics.median(samples[i * size : (i + 1) * size]) for i in range(_WINDOWS)]
    mean = statistics.mean(medians)
    if all(abs(median - mean) <= tolerance * mean for median in medians):
        return None
    shown = ", ".join(f"{median / 1e6:.3g}" for median in medians)
    return f"latency is not steady: medians of consecutive thirds are {shown} ms, more than {tolerance:.0%} apart"


def _steady(sampling: Sampling, protocol: LatencyProtocol) -> array[int]:
    timed, began, seconds = array("q"), sampling.clock(), protocol.min_seconds
    latest = began + protocol.max_seconds * _NS
    while True:
        until = began + min(seconds, protocol.max_seconds) * _NS
        sampling.extend("timed", timed, until, protocol.min_count, latest)
        spent = (sampling.clock() - began) / _NS
        if protocol.extra_seconds == 0 or spent >= protocol.max_seconds:
            return timed
        if unsteadiness(timed, protocol.tolerance) is None:
            return timed
        seconds = spent + max(protocol.min_seconds, protocol.extra_seconds / _WINDOWS) * _EXTENSION


def _sustained(sampling: Sampling, protocol: LatencyProtocol) -> array[int]:
    timed, began = array("q"), sampling.clock()
    sampling.extend("timed", timed, began + protocol.min_seconds * _NS, 1, math.inf)
    return timed


def _burst(sampling: Sampling, protocol: LatencyProtocol) -> array[int]:
    timed, began, length = array("q"), sampling.clock(), protocol.burst_count
    latest = began + protocol.max_seconds * _NS
    while True:
        sampling.sleep(protocol.idle_seconds)
        sampling.extend("timed", timed, 0, len(timed) + length, latest)
        if len(timed) > length:  # a burst that was cut off would shift the first of each
            del timed[len(timed) - len(timed) % length :]
        spent = (sampling.clock() - began) / _NS
        if spent >= protocol.max_seconds:
            return timed
        enough = spent >= protocol.min_seconds and len(timed) >= protocol.min_count
        if enough and unsteadiness(timed, protocol.tolerance, length) is None:
            return timed


_MODES = {"steady": _steady, "sustained": _sustained, "burst": _burst}
