from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.histogram import Histogram

_magnitude = st.floats(float(np.float32(1e-15)), float(np.float32(1e15)), width=32)
_finite = st.one_of(st.just(0.0), _magnitude, _magnitude.map(lambda value: -value))


def _filled(parts: list[list[float]]) -> tuple[Histogram, np.ndarray]:
    histogram = Histogram()
    for part in parts:
        values = np.array(part, np.float32)
        histogram.add(values, float(values.min()), float(values.max()))
    return histogram, np.concatenate([np.array(part, np.float32) for part in parts])


@given(st.lists(st.lists(_finite, min_size=1, max_size=20), min_size=1, max_size=6))
def test_counts_are_those_of_the_final_bins_however_the_stream_is_cut(parts: list[list[float]]) -> None:
    histogram, values = _filled(parts)
    index = np.floor(values.astype(np.float64) / histogram.width).astype(np.int64) - histogram.first
    assert np.array_equal(histogram.counts, np.bincount(index, minlength=len(histogram.counts)))
    assert histogram.total == len(values)


@given(st.lists(st.lists(_finite, min_size=1, max_size=20), min_size=1, max_size=6))
def test_memory_is_bounded_whatever_the_values(parts: list[list[float]]) -> None:
    histogram, _ = _filled(parts)
    assert len(histogram.counts) <= 4096


def test_bins_stay_fine_when_the_range_grows_a_millionfold() -> None:
    rng = np.random.default_rng(0)
    histogram, values = _filled([list(rng.normal(size=1000) * scale) for scale in (1e-3, 1.0, 1e3)])
    assert (values.max() - values.min()) / histogram.width > 2000
    assert histogram.edges[0] <= values.min()
    assert values.max() <= histogram.edges[-1]


def test_agrees_with_numpy_on_the_same_edges() -> None:
    rng = np.random.default_rng(1)
    histogram, values = _filled([list(rng.normal(size=100_000)), list(rng.normal(3, 2, size=70_000))])
    assert np.array_equal(histogram.counts, np.histogram(values, bins=histogram.edges)[0])


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -3.5, 1e-38, -1e-44, 3e38, -3e38])
def test_a_constant_stream_fills_one_bin(value: float) -> None:
    histogram, _ = _filled([[value] * 5, [value] * 3])
    assert histogram.counts[histogram.counts > 0].tolist() == [8]


def test_values_that_vanish_beside_the_others_do_not_leave_the_bins() -> None:
    histogram, _ = _filled([[-1.8e16, -6.1e-33], [-1e-44]])
    assert histogram.total == 3
