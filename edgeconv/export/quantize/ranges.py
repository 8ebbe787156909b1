"""Which part of a tensor's values the 8-bit grid shall cover: range estimators over the same statistics, by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError
from edgeconv.export.calibrate import TensorStatistics
from edgeconv.export.quantize.grid import Grid

__all__ = ["RangeEstimator", "estimator_names", "range_estimator"]

_Floats = npt.NDArray[np.float64]
_LEVELS = 128  # magnitudes that 8 signed bits can tell apart
_SAMPLES = 1000  # that the range called "peaks" should hold
_WIDEST = 2.0  # times the extremes that were seen: a few samples say little of a distribution's tail
_CLIP_RATIOS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


class RangeEstimator(Protocol):
    """Gives the range ``(low, high)``, ``low <= 0 <= high``, that a grid for the tensor shall cover."""

    def __call__(self, tensor: TensorStatistics) -> tuple[float, float]:
        """Estimate the range of `tensor`."""
        ...


_ESTIMATORS: dict[str, RangeEstimator] = {}


def range_estimator(name: str) -> RangeEstimator:
    """The estimator registered as `name`.

    Raises:
        UsageError: there is none; the near ones are suggested.
    """
    if name not in _ESTIMATORS:
        near = difflib.get_close_matches(name, _ESTIMATORS, n=2, cutoff=0.4)
        raise UsageError(
            f"There is no range estimator {name!r}.",
            f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(estimator_names())}.",
        )
    return _ESTIMATORS[name]


def estimator_names() -> tuple[str, ...]:
    """The names that `range_estimator` knows."""
    return tuple(sorted(_ESTIMATORS))


def _register(name: str) -> Callable[[RangeEstimator], RangeEstimator]:
    def add(estimator: RangeEstimator) -> RangeEstimator:
        _ESTIMATORS[name] = estimator
        return estimator

    return add


@_register("minmax")
def _minmax(tensor: TensorStatistics) -> tuple[float, float]:
    return _with_zero(tensor.low, tensor.high)


@_register("peaks")
def _peaks(tensor: TensorStatistics) -> tuple[float, float]:
    """What the extremes of 1,000 samples like those seen should stay within: for what must not be clipped at all.

    The largest of n extremes whose own distribution is Gumbel's has the expectation ``mean + (ln n + 0.577) beta`` with
    ``beta = deviation sqrt(6) / pi`` (E. J. Gumbel, "Statistics of Extremes", 1958, sections 5.2 and 5.3).
    """
    reach = (math.log(_SAMPLES) + np.euler_gamma) * math.sqrt(6) / math.pi
    low, high = _minmax(tensor)
    expected_low = tensor.lowest.mean - reach * tensor.lowest.deviation
    expected_high = tensor.highest.mean + reach * tensor.highest.deviation
    return max(min(low, expected_low), _WIDEST * low), min(max(high, expected_high), _WIDEST * high)


def _percentile(outside: float) -> RangeEstimator:
    """Both tails together leave the fraction `outside` of the values out of the range, half in each."""

    def estimate(tensor: TensorStatistics) -> tuple[float, float]:
        tail = max(1, int(tensor.count * outside / 2))
        if tail == 1:
            return _minmax(tensor)
        low = _tail_edge(tensor.histogram.counts, tensor.histogram.edges, tail)
        high = -_tail_edge(tensor.histogram.counts[::-1], -tensor.histogram.edges[::-1], tail)
        return _with_zero(max(low, tensor.low), min(high, tensor.high))

    return estimate


_register("percentile")(_percentile(1e-4))
_register("percentile-99.999")(_percentile(1e-5))


@_register("mse")
def _mse(tensor: TensorStatistics) -> tuple[float, float]:
    """The clipped range with the least mean squared error of rounding and clipping, by coordinate search."""
    low, high = _minmax(tensor)
    counts, centres = tensor.histogram.counts.astype(np.float64), tensor.histogram.centres

    def error(low: float, high: float) -> float:
        grid = Grid.covering(low, high)
        return float(counts @ (grid.dequantise(grid.quantise(centres)) - centres) ** 2)

    low_ratio = high_ratio = 1.0
    for _ in range(2):
        high_ratio = min(_CLIP_RATIOS, key=lambda ratio: error(low * low_ratio, high * ratio))
        low_ratio = min(_CLIP_RATIOS, key=lambda ratio: error(low * ratio, high * high_ratio))
    return low * low_ratio, high * high_ratio


@_register("entropy")
def _entropy(tensor: TensorStatistics) -> tuple[float, float]:
    """The clip of the magnitudes with the least Kullback-Leibler divergence from clipped to 8-bit histogram.

    S. Migacz, "8-bit inference with TensorRT", GTC 2017. Values of zero (half of them, after a ReLU) are left out:
    every grid holds them exactly.
    """
    magnitudes, width = _fold(tensor)
    bins = len(magnitudes)
    if bins <= _LEVELS:
        return _minmax(tensor)
    candidates = np.unique(np.linspace(_LEVELS, bins, 64).astype(int))
    best = min(candidates, key=lambda kept: _divergence(magnitudes, int(kept)))
    limit = float(best) * width
    return _with_zero(max(tensor.low, -limit), min(tensor.high, limit))


def _tail_edge(counts: npt.NDArray[np.int64], edges: _Floats, tail: int) -> float:
    """Where `tail` values lie below, values being spread evenly within their bin."""
    below = np.cumsum(counts)
    index = int(np.searchsorted(below, tail))
    inside = (tail - (below[index] - counts[index])) / counts[index]
    return float(edges[index] + inside * (edges[index + 1] - edges[index]))


def _fold(tensor: TensorStatistics) -> tuple[_Floats, float]:
    """Counts of the magnitudes in bins of the histogram's width, without the bin that holds zero; and that width."""
    histogram = tensor.histogram
    index = np.arange(len(histogram.counts)) + histogram.first
    magnitude = np.where(index >= 0, index, -index - 1)
    folded = np.zeros(int(magnitude.max()) + 1)
    np.add.at(folded, magnitude, histogram.counts)
    folded[0] = 0
    return folded, histogram.width


def _divergence(magnitudes: _Floats, kept: int) -> float:
    """KL divergence between the first `kept` bins (the rest clipped into the last) and their 128-level version."""
    source = magnitudes[:kept]
    clipped = source.copy()
    clipped[-1] += magnitudes[kept:].sum()
    level = np.arange(kept) * _LEVELS // kept
    occupied = source > 0
    sums, sizes = np.bincount(level, source, _LEVELS), np.bincount(level, occupied, _LEVELS)
    coarse = np.where(occupied, sums[level] / np.maximum(sizes[level], 1), 0)
    if not coarse.any():
        return float("inf")
    p, q = clipped / clipped.sum(), coarse / coarse.sum()
    known = p > 0
    return float(np.sum(p[known] * np.log(p[known] / np.maximum(q[known], 1e-9))))


def _with_zero(low: float, high: float) -> tuple[float, float]:
    return min(low, 0.0), max(high, 0.0)
