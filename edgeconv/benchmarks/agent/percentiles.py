"""Which percentiles a sample of latencies supports, and their values.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import math
import statistics
from typing import Optional, Sequence

__all__ = ["CONFIDENCE", "minimum_samples", "percentile"]

CONFIDENCE = 0.99


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
    if len(samples) < minimum_samples(percent):
        return None
    if percent == 50:
        return round(statistics.median(samples))
    rank = -(-percent * len(samples) // 100)
    return sorted(samples)[rank - 1]
