from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import UsageError
from edgeconv.export.calibrate import TensorStatistics
from edgeconv.export.quantize import Grid, QuantisationScheme, estimator_names
from edgeconv.export.quantize.ranges import range_estimator


def _statistics(*samples: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    for sample in samples:
        values = sample.astype(np.float32).reshape(-1)
        statistics.add(values, float(values.min()), float(values.max()))
    return statistics


def _outliers() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=200_000), [40.0, -35.0, 38.0]])


@pytest.mark.parametrize("name", [name for name in estimator_names() if name != "peaks"])
@given(
    low=st.floats(-100, 100),
    spread=st.floats(0, 50),
    count=st.integers(1, 3000),
)
def test_every_range_holds_zero_and_stays_within_what_was_seen(
    name: str, low: float, spread: float, count: int
) -> None:
    values = np.random.default_rng(0).uniform(low, low + spread, count)
    statistics = _statistics(values)
    found_low, found_high = range_estimator(name)(statistics)
    assert min(statistics.low, 0) <= found_low <= 0 <= found_high <= max(statistics.high, 0)


def test_peaks_hold_what_many_more_samples_bring() -> None:
    rng = np.random.default_rng(1)

    def extremes(count: int) -> list[np.ndarray]:
        return [np.array([-1.0, value]) for value in rng.gumbel(10, 1, count)]

    low, high = range_estimator("peaks")(_statistics(*extremes(64)))
    assert low == -1.0  # every sample has the same
    assert max(sample.max() for sample in extremes(16)) < high
    assert sum(sample.max() > high for sample in extremes(10_000)) < 100


def test_peaks_of_few_samples_are_at_most_twice_what_was_seen() -> None:
    assert range_estimator("peaks")(_statistics(np.array([0.5]))) == (0.0, 0.5)
    assert range_estimator("peaks")(_statistics(np.array([0.5]), np.array([9.0]))) == (0.0, 18.0)


def test_minmax_is_exact() -> None:
    assert range_estimator("minmax")(_statistics(np.array([-1.5, 2.0]), np.array([7.25]))) == (-1.5, 7.25)


@pytest.mark.parametrize(("name", "outside"), [("percentile", 1e-4), ("percentile-99.999", 1e-5)])
def test_percentile_leaves_half_of_its_share_in_each_tail(name: str, outside: float) -> None:
    values = np.random.default_rng(3).normal(size=1_000_000)
    low, high = range_estimator(name)(_statistics(*np.split(values, 10)))
    share = int(len(values) * outside / 2)
    assert np.sum(values < low) == pytest.approx(share, abs=2 + share // 10)
    assert np.sum(values > high) == pytest.approx(share, abs=2 + share // 10)


def test_percentile_of_few_values_is_minmax() -> None:
    values = np.random.default_rng(3).normal(size=1000)
    assert range_estimator("percentile")(_statistics(values)) == range_estimator("minmax")(_statistics(values))


def test_percentile_of_a_relu_output_starts_at_zero() -> None:
    values = np.maximum(np.random.default_rng(3).normal(size=100_000), 0)
    low, high = range_estimator("percentile")(_statistics(values))
    assert low == 0
    assert 3 < high < values.max()


@pytest.mark.parametrize("name", ["percentile", "entropy"])
def test_clipping_estimators_cut_rare_outliers(name: str) -> None:
    low, high = range_estimator(name)(_statistics(_outliers()))
    assert -30 < low < -2
    assert 2 < high < 30


def test_mse_range_has_a_smaller_error_than_minmax() -> None:
    values = _outliers()

    def error(name: str) -> float:
        grid = Grid.covering(*range_estimator(name)(_statistics(values)))
        return float(np.mean((grid.dequantise(grid.quantise(values)) - values) ** 2))

    assert error("mse") < error("minmax")


def test_an_unknown_estimator_suggests_the_near_ones() -> None:
    with pytest.raises(UsageError, match="percentile"):
        QuantisationScheme(ranges="percentil")


@given(st.floats(-1e6, 0), st.floats(0, 1e6), st.booleans())
def test_a_grid_covers_its_range_and_holds_zero_exactly(low: float, high: float, symmetric: bool) -> None:
    grid = Grid.covering(low, high, symmetric=symmetric)
    assert grid.covers(low, high)
    assert grid.dequantise(grid.quantise(np.zeros(1, np.float32)))[0] == 0
    assert grid.zero_point == 0 or not symmetric


@given(st.floats(-1e3, 0), st.floats(0.01, 1e3), st.floats(0, 1))
def test_values_on_a_grid_are_at_most_half_a_step_off(low: float, high: float, position: float) -> None:
    grid = Grid.covering(low, high)
    value = np.float32(grid.low + position * (grid.high - grid.low))
    restored = grid.dequantise(grid.quantise(np.array([value])))[0]
    assert abs(restored - value) <= grid.scale * 0.501


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1.0, 128), (1e-60, 0)])
def test_what_is_no_int8_grid_is_refused(scale: float, zero_point: int) -> None:
    with pytest.raises(UsageError, match="no int8 grid"):
        Grid(scale, zero_point)
