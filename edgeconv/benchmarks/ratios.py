"""The ratio of a latency quantile of two runs, with a bootstrap interval that counts both kinds of noise.

Samples of one process are not independent: clocks, caches and neighbours make them drift and come in bursts.  And two
processes of the same file differ as wholes: memory layout, core, temperature.  An interval made of independently
resampled samples knows neither and gives false alarms.  So:

1. Inside a round (one fresh process) consecutive blocks of samples are resampled, not samples.
2. The rounds of both runs say how far processes differ.  Two or three rounds say that badly, so they are weighed
   against what was measured elsewhere (`_PRIOR_SPREAD`, worth `_PRIOR_WEIGHT` rounds), and their uncertainty is
   carried on as Student's t, as in a moderated t-test (Smyth 2004).  Rounds that differ far more than that are believed
   alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeconv.records import Latency, Result

__all__ = ["CONFIDENCE", "Ratio", "exact_ratio", "mean_ratio", "median_ratio", "quantile_ratio", "samples_by_round"]

CONFIDENCE = 0.99
_RESAMPLES = 2000
_SEED = 20240607  # the same records give the same interval
_MAX_BLOCKS, _MIN_BLOCKS = 64, 8
_MEDIAN = 0.5
_GRID = 256  # candidate values of a resampled quantile
_REACH = 0.2  # how far from the quantile they lie, in probability

# Spread of a quantile over fresh processes on one machine, by quantile (relative).
_PRIOR_SPREAD = {0.5: 0.010, 0.9: 0.025}
_PRIOR_WEIGHT = 4
# Rounds that differ by so many times more show a machine that the prior does not describe.
_CONFLICT = {0.5: 2.5, 0.9: 1.5}

Rounds = Sequence[npt.NDArray[np.float64]]
_Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Candidate / base with its 99 % interval."""

    value: float
    low: float
    high: float

    def beyond(self, min_effect: float) -> bool:
        """Whether the candidate is certainly higher, and by `min_effect` or more."""
        return self.low > 1 and self.value >= 1 + min_effect

    def below(self, min_effect: float) -> bool:
        """Whether the candidate is certainly lower, and by `min_effect` or more."""
        return self.high < 1 and self.value <= 1 / (1 + min_effect)

    def within(self, min_effect: float) -> bool:
        """Whether a difference of `min_effect` or more can be ruled out."""
        return self.low > 1 / (1 + min_effect) and self.high < 1 + min_effect


def samples_by_round(latency: Latency) -> list[npt.NDArray[np.float64]]:
    """The samples of each fresh process, empty ones left out; a record without rounds is of one process."""
    samples, rounds = latency.samples, latency.rounds
    if sum(rounds) != len(samples):
        rounds = [len(samples)]
    split = np.split(np.asarray(samples, np.float64), np.cumsum(rounds)[:-1])
    return [part for part in split if len(part)]


def median_ratio(base: Result, candidate: Result, *, exact: bool = False) -> Ratio | None:
    """Of the median latencies; None where one of the two has no samples.

    Args:
        base: what is divided by.
        candidate: what is divided.
        exact: they are of a virtual clock.
    """
    rounds = samples_by_round(base.latency_ns), samples_by_round(candidate.latency_ns)
    return (exact_ratio if exact else quantile_ratio)(*rounds, _MEDIAN) if all(rounds) else None


def exact_ratio(base: Rounds, candidate: Rounds, quantile: float) -> Ratio:
    """The ratio of the quantiles of samples without noise, as a virtual clock gives them."""
    before, after = (float(np.quantile(np.concatenate(list(rounds)), quantile)) for rounds in (base, candidate))
    return Ratio(after / before, after / before, after / before)


def quantile_ratio(base: Rounds, candidate: Rounds, quantile: float) -> Ratio:
    """The ratio of a quantile (0.5 or 0.9): of its geometric means over the rounds of each run.

    Args:
        base: samples of each round in their order, none empty.
        candidate: the same.
        quantile: which one.
    """
    rng = np.random.default_rng(_SEED)
    runs = [[_resampled(samples, quantile, rng) for samples in rounds] for rounds in (base, candidate)]
    points = [np.array([point for point, _ in rounds]) for rounds in runs]
    clouds = [np.stack([cloud for _, cloud in rounds]) for rounds in runs]
    spread, freedom = _between(points, clouds, _PRIOR_SPREAD[quantile], _CONFLICT[quantile])
    logs = [
        cloud.mean(axis=0) + spread / math.sqrt(len(cloud)) * rng.standard_t(freedom, _RESAMPLES) for cloud in clouds
    ]
    return _interval(float(points[1].mean() - points[0].mean()), logs[1] - logs[0])


def mean_ratio(base: tuple[float, float, int], candidate: tuple[float, float, int]) -> Ratio:
    """The ratio of means of tools that keep no samples.

    Args:
        base: mean, standard deviation and count.
        candidate: the same.
    """
    rng = np.random.default_rng(_SEED)
    logs = []
    for mean, deviation, count in (base, candidate):
        noise = rng.standard_normal(_RESAMPLES) * deviation / mean / math.sqrt(count)
        logs.append(noise + _PRIOR_SPREAD[0.5] * rng.standard_t(_PRIOR_WEIGHT, _RESAMPLES))
    return _interval(math.log(candidate[0] / base[0]), logs[1] - logs[0], centre=0.0)


def _interval(point: float, differences: _Array, centre: float | None = None) -> Ratio:
    """The percentile interval, moved so that the resamples lie around the point they stand for."""
    middle = float(np.median(differences)) if centre is None else centre
    low, high = np.quantile(differences, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) - middle + point
    return Ratio(math.exp(point), math.exp(float(low)), math.exp(float(high)))


def _between(points: list[_Array], clouds: list[_Array], prior: float, conflict: float) -> tuple[float, int]:
    """Standard deviation of what rounds differ by beyond their own sampling noise, and its degrees of freedom."""
    freedom = sum(len(point) - 1 for point in points)
    squares = sum(float(((point - point.mean()) ** 2).sum()) for point in points)
    noise = float(np.mean(np.concatenate([cloud.var(axis=1) for cloud in clouds])))
    excess = max(0.0, squares - freedom * noise)
    if freedom and excess / freedom > (conflict * prior) ** 2:
        return math.sqrt(excess / freedom), freedom
    return math.sqrt((_PRIOR_WEIGHT * prior**2 + excess) / (_PRIOR_WEIGHT + freedom)), _PRIOR_WEIGHT + freedom


def _resampled(samples: _Array, quantile: float, rng: np.random.Generator) -> tuple[float, _Array]:
    """Logarithm of the quantile of one round, and of its resamples by blocks.

    A resample is a sum of blocks, so its quantile is read off the summed counts of the blocks below each candidate
    value; nothing is sorted twice, and 50,000 samples take milliseconds.
    """
    count = len(samples)
    blocks = max(min(_MIN_BLOCKS, count), min(_MAX_BLOCKS, math.isqrt(count)))
    edges = np.linspace(0, count, blocks + 1).astype(int)[:-1]
    ranks = np.linspace(max(0.0, quantile - _REACH), min(1.0, quantile + _REACH), min(_GRID, count))
    grid = np.unique(np.quantile(samples, ranks, method="inverted_cdf"))
    positions = np.searchsorted(grid, samples)  # the first candidate that is not below the sample
    below = np.zeros((blocks, len(grid) + 1))
    np.add.at(below, (np.searchsorted(edges, np.arange(count), side="right") - 1, positions), 1)
    below = below.cumsum(axis=1)[:, :-1]
    sizes = np.diff([*edges, count])
    drawn = rng.integers(0, blocks, (_RESAMPLES, blocks)) + blocks * np.arange(_RESAMPLES)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=blocks * _RESAMPLES).reshape(_RESAMPLES, blocks).astype(np.float64)
    counts = np.einsum("rb,bg->rg", weights, below)  # not `@`: BLAS's threads cost more than they save on a busy host
    reached = counts >= (quantile * weights.dot(sizes))[:, None]
    index = np.where(reached.any(axis=1), reached.argmax(axis=1), len(grid) - 1)
    return math.log(float(np.quantile(samples, quantile))), np.log(grid[index])
