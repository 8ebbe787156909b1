"""What the sustained and the burst mode show beyond percentiles.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import itertools
import statistics
from typing import Dict, List, Sequence

from edgeconv.benchmarks.agent.protocol import LatencyProtocol

__all__ = ["curve", "describe"]

_MINUTE_NS = 60_000_000_000
_LEAST_PARTS = 3  # of a sustained run that is too short for three minutes


def describe(samples: Sequence[int], protocol: LatencyProtocol) -> Dict[str, str]:
    """Facts for the evidence of a result; none in the steady mode."""
    if not samples:
        return {}
    if protocol.mode == "sustained":
        return _sustained(samples)
    if protocol.mode == "burst":
        return _burst(samples, protocol)
    return {}


def curve(samples: Sequence[int], span_ns: float) -> List[float]:
    """The median of each span of time in order, in nanoseconds; a last one that is not half full is left out.

    A sample belongs to the span in which it ended, where time is the sum of the samples: nothing else takes any.
    """
    groups: Dict[int, List[int]] = {}
    for sample, end in zip(samples, itertools.accumulate(samples)):
        groups.setdefault(int((end - 1) // span_ns), []).append(sample)
    ordered = [groups[index] for index in sorted(groups)]
    if len(ordered) > 1 and sum(ordered[-1]) < span_ns / 2:
        ordered.pop()
    return [statistics.median(group) for group in ordered]


def _sustained(samples: Sequence[int]) -> Dict[str, str]:
    span = min(_MINUTE_NS, sum(samples) / _LEAST_PARTS)
    medians = curve(samples, span)
    first, last = medians[0], medians[-1]
    name = "minute" if span == _MINUTE_NS else f"{span / 1e9:.2g} s"
    return {
        f"first {name}": f"{first / 1e6:.3f} ms",
        f"last {name}": f"{last / 1e6:.3f} ms, {last / first - 1:+.1%}",
        f"median of each {name}": ", ".join(f"{median / 1e6:.3g}" for median in medians) + " ms",
    }


def _burst(samples: Sequence[int], protocol: LatencyProtocol) -> Dict[str, str]:
    length = protocol.burst_count
    first = statistics.median(samples[::length])
    others = [sample for index, sample in enumerate(samples) if index % length]
    facts = {
        "bursts": f"{-(-len(samples) // length)} of {length} inferences after {protocol.idle_seconds:g} s of rest each",
        "first of a burst": f"{first / 1e6:.3f} ms (median)",
    }
    if others:
        facts["others of a burst"] = f"{statistics.median(others) / 1e6:.3f} ms (median)"
    return facts
