from __future__ import annotations

import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.percentiles import minimum_samples, percentile

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
