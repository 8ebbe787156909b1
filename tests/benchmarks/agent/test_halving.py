from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.halving import halve


class Candidates:
    """Candidates of given milliseconds with noise; those of None cannot run."""

    def __init__(self, milliseconds, noise=0.0):
        self._ns = [None if value is None else value * 1_000_000 for value in milliseconds]
        self._random, self._noise = random.Random(0), noise
        self.seconds, self.laps = [], []

    def measure(self, candidate, seconds):
        self.seconds.append(seconds)
        typical = self._ns[candidate]
        if typical is None:
            return []
        count = max(3, int(seconds * 1e9 / typical))
        return [round(typical * (1 + abs(self._random.gauss(0, self._noise)))) for _ in range(count)]

    def halve(self, seconds=10.0):
        return halve(len(self._ns), self.measure, seconds, self.laps.append)


def test_the_fastest_candidate_comes_first_and_the_default_to_the_end():
    candidates = Candidates([10, 9, 30, 8, 25, 7, 40, 12, 11, 22], noise=0.05)
    found = candidates.halve()
    assert found[0].candidate == 5
    assert 0 in {finalist.candidate for finalist in found}
    medians = [finalist.median_ns for finalist in found]
    assert medians == sorted(medians)


def test_each_rung_has_half_of_those_before_and_the_default():
    candidates = Candidates([100, *range(1, 16)])
    candidates.halve()
    by_rung = {}
    for lap in candidates.laps:
        by_rung.setdefault(lap.rung, []).append(lap.candidate)
    assert [len(found) for found in by_rung.values()] == [16, 9, 6, 4]
    assert all(0 in found for found in by_rung.values())


def test_the_time_is_shared_by_the_rungs_and_never_exceeded():
    candidates = Candidates([1] * 8)
    candidates.halve(seconds=6.0)
    assert sum(candidates.seconds) == pytest.approx(6.0)


def test_what_cannot_run_is_dropped_and_the_rest_goes_on():
    found = Candidates([10, None, 5, None]).halve()
    assert [finalist.candidate for finalist in found] == [2, 0]


def test_a_default_that_cannot_run_does_not_stop_the_others():
    assert Candidates([None, 6, 5]).halve()[0].candidate == 2


def test_nothing_is_found_when_nothing_runs():
    assert Candidates([None, None, None]).halve() == []


def test_finalists_take_turns():
    order = []
    candidates = Candidates([10, 9])

    def measure(candidate, seconds):
        order.append(candidate)
        return candidates.measure(candidate, seconds)

    found = halve(2, measure, 1.0, lambda lap: None)
    assert order == [0, 1, 1, 0, 0, 1, 1, 0]
    assert [len(finalist.slices) for finalist in found] == [4, 4]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_without_noise_the_fastest_always_wins(milliseconds):
    candidates = Candidates(milliseconds)
    found = candidates.halve(seconds=1.0)
    assert milliseconds[found[0].candidate] == min(milliseconds)
    assert found[0].median_ns == statistics.median(candidates.measure(found[0].candidate, 0.1))
