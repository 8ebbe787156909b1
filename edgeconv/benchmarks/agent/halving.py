"""Successive halving: the slower half of the candidates goes, the faster half gets twice the time.

After Jamieson and Talwalkar, "Non-stochastic Best Arm Identification", 2016.  Part of the device agent: Python 3.8.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Callable, Dict, List, Sequence

__all__ = ["Finalist", "Lap", "halve"]

_FINAL_SLICES = 4  # of the last rung, in turns, so that a drift of the machine hits all finalists alike


@dataclasses.dataclass(frozen=True)
class Lap:
    """The median of one candidate in one rung."""

    candidate: int
    rung: int
    median_ns: int
    count: int


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A candidate of the last rung with all its samples there, slice by slice."""

    candidate: int
    slices: List[List[int]]

    @property
    def median_ns(self) -> float:
        """Of all samples."""
        return statistics.median([sample for one in self.slices for sample in one])


def halve(
    count: int, measure: Callable[[int, float], List[int]], seconds: float, laps: Callable[[Lap], None]
) -> List[Finalist]:
    """Find the fastest of `count` candidates; candidate 0, the default, is never dropped.

    Args:
        count: how many there are.
        measure: nanoseconds of some inferences of a candidate, for about so many seconds; empty: it cannot run.
        seconds: for all measurements together, shared equally by the rungs.
        laps: is told each median.

    Returns:
        The finalists, the fastest first; empty when nothing runs.
    """
    rungs = max(1, math.ceil(math.log2(max(count, 2))))
    alive = list(range(count))
    for rung in range(rungs):
        share, last = seconds / rungs / max(len(alive), 1), rung == rungs - 1
        slices: Dict[int, List[List[int]]] = {candidate: [] for candidate in alive}
        for turn in range(_FINAL_SLICES if last else 1):
            for candidate in _turn(alive, turn):
                samples = measure(candidate, share / (_FINAL_SLICES if last else 1))
                if samples:
                    slices[candidate].append(samples)
        finalists = [Finalist(candidate, parts) for candidate, parts in slices.items() if parts]
        finalists.sort(key=lambda finalist: finalist.median_ns)
        for finalist in finalists:
            laps(Lap(finalist.candidate, rung, round(finalist.median_ns), sum(map(len, finalist.slices))))
        if last:
            return finalists
        ranked = [finalist.candidate for finalist in finalists]
        kept = ranked[: math.ceil(len(ranked) / 2)]
        alive = kept if 0 in kept or 0 not in ranked else [*kept, 0]
    return []


def _turn(candidates: Sequence[int], turn: int) -> List[int]:
    return list(reversed(candidates)) if turn % 2 else list(candidates)
