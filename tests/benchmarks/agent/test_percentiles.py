from __future__ import annotations

import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from edgeconv.benchmarks.agent.percentiles import (
    PERCENTS,
    interval,
    interval_ranks,
    make_latency,
    minimum_samples,
    percentile,
    too_few,
)

SAMPLES = st.lists(st.integers(1, 10**12), min_size=1, max_size=600)


@pytest.mark.parametrize(("percent", "count"), [(50, 7), (90, 44), (95, 90), (99, 459)])
def test_minimum_samples_are_those_of_the_early_stopping_rule(percent, count):
    assert minimum_samples(percent) == count


@given(st.integers(1, 99), st.sampled_from([0.9, 0.95, 0.99, 0.999]))
def test_minimum_samples_is_the_smallest_count_that_bounds_the_percentile(percent, confidence):
    count, below = minimum_samples(percent, confidence), Fraction(percent, 100)
    allowed = 1 - Fraction(confidence)
    assert below**count <= allowed
    assert below ** (count - 1) > allowed or count == 1


@pytest.mark.parametrize(("percent", "count"), [(50, 7), (90, 44), (99, 459)])
def test_percentile_is_none_when_the_sample_is_one_short(percent, count):
    assert percentile(range(count - 1), percent) is None
    assert percentile(range(count), percent) is not None


@given(SAMPLES)
def test_percentiles_agree_with_numpy_on_measured_values(samples):
    for percent, method in ((50, "linear"), (90, "inverted_cdf"), (99, "inverted_cdf")):
        found = percentile(samples, percent)
        if found is not None:
            assert found == round(np.percentile(np.array(samples, np.float64), percent, method=method))


@given(SAMPLES)
def test_percentiles_are_ordered_and_within_the_sample(samples):
    found = [value for value in (percentile(samples, p) for p in (50, 90, 99)) if value is not None]
    assert found == sorted(found)
    assert all(min(samples) <= value <= max(samples) for value in found)


def test_median_of_an_even_count_is_that_of_statistics():
    samples = [1, 2, 3, 5, 8, 13, 21, 34]
    assert percentile(samples, 50) == round(statistics.median(samples))


def missed(count, percent, low, high):
    """Exactly how often the interval [sample of rank low, sample of rank high] misses the percentile."""
    below = binom(count, percent / 100)
    return below.cdf(low - 1) + below.sf(high - 1)


@given(st.integers(1, 40_000), st.sampled_from(PERCENTS))
def test_the_interval_holds_in_99_of_100_by_the_binomial_distribution(count, percent):
    ranks = interval_ranks(count, percent)
    if count < minimum_samples(percent):
        assert ranks is None
        return
    low, high = ranks
    assert 0 <= low <= -(-percent * count // 100) <= high <= count
    assert missed(count, percent, low, high) <= 0.01 * (1 + 1e-9)


@given(st.integers(1, 40_000), st.sampled_from(PERCENTS))
def test_no_side_of_the_interval_can_come_closer(count, percent):
    ranks = interval_ranks(count, percent)
    if ranks is not None:
        low, high = ranks
        assert missed(count, percent, low + 1, high) > 0.01 * (1 - 1e-9)
        assert missed(count, percent, low, high - 1) > 0.01 * (1 - 1e-9)


@pytest.mark.parametrize(("percent", "count"), [(50, 44), (50, 300), (90, 44), (90, 300), (95, 90), (99, 459)])
def test_the_interval_covers_the_true_percentile_in_a_simulation(percent, count):
    low, high = interval_ranks(count, percent)
    drawn = np.sort(np.random.default_rng(percent * count).random((4000, count)), axis=1)
    covered = (drawn[:, low - 1] <= percent / 100) & (drawn[:, high - 1] >= percent / 100)
    assert covered.mean() > 0.985  # 0.99 less three standard errors


def test_the_smallest_sample_has_no_lower_bound_but_zero():
    assert interval([5, 3, 9, 1, 4, 8, 7], 50) == [0, 9]
    assert interval([5, 3, 9, 1, 4, 8, 7, 6], 50) == [1, 9]
    assert interval([5, 3, 9, 1, 4, 8], 50) is None


@given(SAMPLES)
def test_each_percentile_lies_in_its_interval_and_has_one(samples):
    latency = make_latency(samples, [1, 2], [len(samples)])
    values = {"p50": latency.p50, "p90": latency.p90, "p95": latency.p95, "p99": latency.p99}
    given_ones = {name for name, value in values.items() if value is not None}
    assert set(latency.intervals) == given_ones
    for name in given_ones:
        low, high = latency.intervals[name]
        assert low <= values[name] <= high
    assert latency.samples == samples
    assert latency.warmup == [1, 2]
    assert latency.rounds == [len(samples)]


def test_too_few_says_how_many_are_needed():
    assert too_few(6) == "only 6 inferences were timed, the median needs 7"
    assert too_few(7) is None
