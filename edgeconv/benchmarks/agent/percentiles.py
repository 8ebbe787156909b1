"""Which percentiles a sample of latencies supports, their values and their confidence intervals.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import math
import statistics
from typing import Dict, List, Optional, Sequence, Tuple

from edgeconv.records import Latency

__all__ = [
    "CONFIDENCE",
    "PERCENTS",
    "interval",
    "interval_ranks",
    "make_latency",
    "minimum_samples",
    "percentile",
    "too_few",
]

CONFIDENCE = 0.99
PERCENTS = (50, 90, 95, 99)
_REACH = 12  # standard deviations of a binomial, plus as many counts: what lies beyond has less than 1e-30


def minimum_samples(percent: int, confidence: float = CONFIDENCE) -> int:
    """The smallest sample that bounds a percentile, whatever the distribution is.

    Each sample lies below the q-quantile with probability q, so all n do with probability q^n (the binomial tail with
    no success).  The largest of n is an upper bound with the wanted confidence once ``q^n <= 1 - confidence``: 7
    samples for the median, 44 for p90, 90 for p95 and 459 for p99 at 99 %.  This is the early-stopping rule of MLPerf's
    LoadGen with nothing discarded.
    """
    return math.ceil(math.log(1 - confidence) / math.log(percent / 100))


def percentile(samples: Sequence[int], percent: int) -> Optional[int]:
    """The sample percentile, None where the sample is too small to bound it.

    The median is the middle (the mean of the two middle ones, rounded, for an even count); any other percentile is the
    sample of rank ``ceil(percent / 100 * n)``, a value that was measured and not an interpolation.
    """
    return _percentile(sorted(samples), percent)


def interval(samples: Sequence[int], percent: int) -> Optional[List[int]]:
    """The order-statistic confidence interval [low, high] of a percentile; None where the sample is too small.

    It holds with at least 99 % whatever the distribution is, for independent samples.
    """
    return _interval(sorted(samples), percent)


def interval_ranks(count: int, percent: int, confidence: float = CONFIDENCE) -> Optional[Tuple[int, int]]:
    """Ranks (low, high), from 1, of the sorted samples that enclose a percentile with `confidence`.

    The number of samples below the q-quantile is binomial(n, q), so the interval misses with P(B < low) + P(B >= high).
    Each tail gets half of ``1 - confidence``; in a sample that is too small for that, the upper one gets what it needs
    and the lower one the rest.  A low rank of 0 is "no lower bound": a latency is never below zero.
    """
    if count < minimum_samples(percent, confidence):
        return None
    share, miss = percent / 100, 1 - confidence
    first, masses = _binomial(count, share)
    last = first + len(masses)
    upper, above = _cut(masses[::-1], miss / 2)
    if last - upper > count:
        above = share**count
    lower, below = _cut(masses, miss - above)
    upper, _ = _cut(masses[::-1], miss - below)
    return first + lower, min(last - upper, count)


def too_few(count: int) -> Optional[str]:
    """Why a sample has not even a median, in words; None when it has."""
    needed = minimum_samples(50)
    return None if count >= needed else f"only {count} inferences were timed, the median needs {needed}"


def make_latency(samples: Sequence[int], warmup: Sequence[int], rounds: Sequence[int]) -> Latency:
    """All figures of a sample; `rounds` has the number of samples of each fresh process, in order."""
    ordered = sorted(samples)
    values = {percent: _percentile(ordered, percent) for percent in PERCENTS}
    intervals: Dict[str, List[int]] = {}
    for percent in PERCENTS:
        bounds = _interval(ordered, percent)
        if bounds is not None:
            intervals[f"p{percent}"] = bounds
    return Latency(
        samples=list(samples),
        p50=values[50],
        p90=values[90],
        p99=values[99],
        warmup=list(warmup),
        p95=values[95],
        intervals=intervals,
        rounds=list(rounds),
    )


def _percentile(ordered: Sequence[int], percent: int) -> Optional[int]:
    if len(ordered) < minimum_samples(percent):
        return None
    if percent == 50:
        return round(statistics.median(ordered))
    return ordered[-(-percent * len(ordered) // 100) - 1]


def _interval(ordered: Sequence[int], percent: int) -> Optional[List[int]]:
    ranks = interval_ranks(len(ordered), percent)
    if ranks is None:
        return None
    low, high = ranks
    return [ordered[low - 1] if low else 0, ordered[high - 1]]


def _cut(masses: Sequence[float], allowed: float) -> Tuple[int, float]:
    """How many of the first masses sum to no more than `allowed`, and their sum."""
    total = 0.0
    for index, mass in enumerate(masses):
        if total + mass > allowed:
            return index, total
        total += mass
    return len(masses), total


def _binomial(count: int, share: float) -> Tuple[int, List[float]]:
    """The first value with a mass worth counting, and the masses from there on."""
    reach = _REACH * (math.sqrt(count * share * (1 - share)) + 1)
    first, last = max(0, int(count * share - reach)), min(count, int(count * share + reach) + 1)

    def mass(value: int) -> float:
        ways = math.lgamma(count + 1) - math.lgamma(value + 1) - math.lgamma(count - value + 1)
        return math.exp(ways + value * math.log(share) + (count - value) * math.log(1 - share))

    return first, [mass(value) for value in range(first, last + 1)]
