"""A histogram of a stream of values whose memory does not grow with the stream."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Histogram"]

_MAX_BINS = 4096
_SMALLEST_WIDTH = 2.0**-120  # its reciprocal is a normal float32, so scaling by it stays exact
_CHUNK = 1 << 16  # values binned at once: the temporaries stay in the second-level cache


class Histogram:
    """Counts of float32 values in bins ``[i * width, (i + 1) * width)`` with a width that is a power of two.

    The bins always hold zero, as the 8-bit grid will. A value outside of them extends them; beyond 4096 bins
    neighbours are merged in pairs and the width doubles. Edges are multiples of the width at every width, so merging
    moves no value over an edge: the counts are those that the final width would have given from the start. Doubling
    only when needed keeps zero and the values seen spread over at least 2000 bins.
    """

    def __init__(self) -> None:
        self.width = _SMALLEST_WIDTH
        self.first = 0  # index of the first bin
        self.counts: npt.NDArray[np.int64] = np.zeros(1, np.int64)

    @property
    def total(self) -> int:
        """The number of values added."""
        return int(self.counts.sum())

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """The ``len(counts) + 1`` edges of the bins."""
        return (self.first + np.arange(len(self.counts) + 1, dtype=np.float64)) * self.width

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of each bin."""
        return self.edges[:-1] + self.width / 2

    def add(self, values: npt.NDArray[Any], low: float, high: float) -> None:
        """Count `values`; `low` and `high` are their finite minimum and maximum."""
        if values.size == 0:
            return
        self._extend(low, high)
        flat = values.reshape(-1)
        inverse, offset = np.float32(1 / self.width), np.float32(self.first)
        for start in range(0, flat.size, _CHUNK):
            bins = flat[start : start + _CHUNK] * inverse
            np.floor(bins, out=bins)
            np.subtract(bins, offset, out=bins)
            self.counts += np.bincount(bins.astype(np.int32), minlength=len(self.counts))

    def _extend(self, low: float, high: float) -> None:
        """Make the bins reach from `low` over zero to `high`, doubling their width as often as needed."""
        first = min(math.floor(low / self.width), self.first)
        last = max(math.floor(high / self.width), self.first + len(self.counts) - 1)
        doublings = 0
        while (last >> doublings) - (first >> doublings) >= _MAX_BINS:
            doublings += 1
        first, last = first >> doublings, last >> doublings
        counts = np.zeros(last - first + 1, np.int64)
        old_bins = self.first + np.arange(len(self.counts))
        np.add.at(counts, (old_bins >> min(doublings, 62)) - first, self.counts)
        self.first, self.counts, self.width = first, counts, self.width * 2.0**doublings
