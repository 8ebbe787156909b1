from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.modes import curve, describe
from edgeconv.benchmarks.agent.protocol import LatencyProtocol

MS = 1_000_000
SUSTAINED = LatencyProtocol(mode="sustained", min_seconds=180.0)
BURST = LatencyProtocol(mode="burst", burst_count=5, idle_seconds=0.25)


def test_the_first_and_the_last_minute_of_a_sustained_run_are_compared():
    samples = [10 * MS] * 6000 + [12 * MS] * 5000 + [15 * MS] * 4000
    facts = describe(samples, SUSTAINED)
    assert facts["first minute"] == "10.000 ms"
    assert facts["last minute"] == "15.000 ms, +50.0%"
    assert facts["median of each minute"] == "10, 12, 15 ms"


def test_a_short_sustained_run_is_cut_into_thirds():
    facts = describe([10 * MS] * 900 + [20 * MS] * 450, SUSTAINED)
    assert facts["first 6 s"] == "10.000 ms"
    assert facts["last 6 s"] == "20.000 ms, +100.0%"


def test_the_first_of_a_burst_is_told_apart_from_the_others():
    facts = describe(([30 * MS] + [10 * MS] * 4) * 8, BURST)
    assert facts["bursts"] == "8 of 5 inferences after 0.25 s of rest each"
    assert facts["first of a burst"] == "30.000 ms (median)"
    assert facts["others of a burst"] == "10.000 ms (median)"


def test_bursts_of_one_have_no_others():
    assert "others of a burst" not in describe([10 * MS] * 8, LatencyProtocol(mode="burst", burst_count=1))


def test_a_steady_run_has_nothing_to_add():
    assert describe([10 * MS] * 100, LatencyProtocol()) == {}
    assert describe([], SUSTAINED) == {}


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300), st.integers(1, 10**10))
def test_the_curve_stays_within_the_samples_and_loses_only_a_tail(samples, span):
    medians = curve(samples, span)
    assert medians
    assert all(min(samples) <= median <= max(samples) for median in medians)
    assert len(medians) <= sum(samples) // span + 1
