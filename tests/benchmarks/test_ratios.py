"""The statistics of a comparison, by simulation and on latencies that were recorded.

`samples/latencies.npz` has the timed samples (ns) of two int8 artefacts of the vessels task, each in twelve fresh
processes of one thread, on a shared two-core x86-64 virtual machine.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.benchmarks.ratios import (
    Ratio,
    exact_ratio,
    mean_ratio,
    median_ratio,
    quantile_ratio,
    samples_by_round,
)
from edgeconv.benchmarks.target_agent import failed_result
from edgeconv.manifest import Artifact
from edgeconv.records import Result

EFFECT = 0.05


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).with_name("samples") / "latencies.npz") as archive:
        return {name: archive[name].astype(np.float64) for name in archive.files}


def simulated(rng, factor=1.0, *, rounds=3, count=120, between=0.01, correlation=0.5, within=0.015):
    """A machine: each process has its own level, samples follow each other (AR(1)), have a heavy tail and stalls."""
    runs = []
    for _ in range(rounds):
        innovations = rng.standard_normal(count) * np.sqrt(1 - correlation**2)
        drift = np.zeros(count)
        for index in range(1, count):
            drift[index] = correlation * drift[index - 1] + innovations[index]
        values = np.exp(within * drift + between * rng.standard_normal()) * (1 + 0.02 * rng.standard_exponential(count))
        stalls = rng.random(count) < rng.uniform(0, 0.04)
        values[stalls] *= 1.2 + 0.3 * rng.pareto(2.5, stalls.sum())
        runs.append(1e7 * factor * values)
    return runs


def ratios(base, candidate):
    return quantile_ratio(base, candidate, 0.5), quantile_ratio(base, candidate, 0.9)


def slower(ratios, factor=1.0):
    """The verdict on the ratios had the candidate been `factor` times slower: an interval scales with it."""
    median, p90 = (Ratio(r.value * factor, r.low * factor, r.high * factor) for r in ratios)
    return median.beyond(EFFECT) or p90.beyond(2 * EFFECT)


def rates(pairs):
    """Of pairs of alike runs: how often a slowdown of 10 % is caught, how often one is seen that is not there."""
    found = [ratios(base, candidate) for base, candidate in pairs]
    return np.mean([slower(one, 1.1) for one in found]), np.mean([slower(one) for one in found])


@pytest.mark.parametrize(
    "machine",
    [
        {},
        {"between": 0.015},
        {"count": 50, "correlation": 0.9},
        {"rounds": 5, "between": 0.02},
        {"rounds": 1, "between": 0.005},
    ],
    ids=["typical", "restless", "short and sticky", "five rounds", "one process"],
)
def test_a_ten_percent_slowdown_is_caught_and_false_alarms_are_rare(machine):
    rng = np.random.default_rng(7)
    caught, alarms = rates([(simulated(rng, **machine), simulated(rng, **machine)) for _ in range(100)])
    assert caught >= 0.95
    assert alarms <= 0.01


def test_the_same_holds_on_recorded_latencies(recorded):
    processes = [samples for name, samples in recorded.items() if name.startswith("openvino")]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(processes)) for _ in range(100)]
    pairs = [([processes[i] for i in o[:3]], [processes[i] for i in o[3:6]]) for o in orders]
    caught, alarms = rates(pairs)
    assert caught >= 0.95
    assert alarms <= 0.01


def test_on_a_disturbed_machine_there_is_no_false_alarm_of_the_median(recorded):
    """Two of these twelve processes ran 15 and 25 % slower than the others: the spread of the rounds has to tell."""
    processes = [samples for name, samples in recorded.items() if name.startswith("litert")]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(processes)) for _ in range(100)]
    alarms = [
        quantile_ratio([processes[i] for i in o[:3]], [processes[i] for i in o[3:6]], 0.5).beyond(EFFECT)
        for o in orders
    ]
    assert np.mean(alarms) <= 0.01


def test_resampling_samples_one_by_one_would_give_false_alarms():
    """Why rounds count: between processes the level differs, which an interval of independent samples does not know."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(30):
        base, candidate = (np.concatenate(simulated(rng, between=0.08)) for _ in range(2))
        one, two = (np.median(rng.choice(run, (200, len(run))), axis=1) for run in (base, candidate))
        low, high = np.quantile(two / one, [0.005, 0.995])
        wrong += low > 1 + EFFECT or high < 1 - EFFECT
    assert wrong >= 6
    rng = np.random.default_rng(1)
    assert sum(slower(ratios(simulated(rng, between=0.08), simulated(rng, between=0.08))) for _ in range(30)) <= 1


@settings(max_examples=20, deadline=None)
@given(st.floats(0.25, 4), st.integers(0, 100))
def test_the_ratio_scales_with_the_candidate_and_its_interval_holds_it(factor, seed):
    rng = np.random.default_rng(seed)
    base, candidate = simulated(rng, count=30), simulated(rng, count=30)
    plain = quantile_ratio(base, candidate, 0.5)
    scaled = quantile_ratio(base, [samples * factor for samples in candidate], 0.5)
    assert scaled.value == pytest.approx(plain.value * factor)
    assert scaled.low == pytest.approx(plain.low * factor)
    assert scaled.high == pytest.approx(plain.high * factor)
    assert plain.low < plain.value < plain.high


def test_the_same_samples_give_the_same_interval():
    rng = np.random.default_rng(0)
    base, candidate = simulated(rng), simulated(rng)
    assert quantile_ratio(base, candidate, 0.9) == quantile_ratio(base, candidate, 0.9)


def test_more_rounds_narrow_the_interval():
    rng = np.random.default_rng(0)
    few, many = (quantile_ratio(simulated(rng, rounds=k), simulated(rng, rounds=k), 0.5) for k in (1, 8))
    assert many.high - many.low < 0.7 * (few.high - few.low)


def test_fifty_thousand_samples_and_a_single_one_are_compared_alike():
    rng = np.random.default_rng(0)
    long = [rng.gamma(50, 2e5, 50_000)]
    assert quantile_ratio(long, long, 0.9).value == 1
    lone = quantile_ratio([np.array([1e7])], [np.array([2e7])], 0.5)
    assert lone.value == pytest.approx(2)
    assert lone.low < 2 < lone.high


def test_equal_samples_leave_only_the_spread_of_processes():
    ratio = quantile_ratio([np.full(20, 5e6)] * 3, [np.full(20, 5e6)] * 3, 0.5)
    assert ratio.value == 1
    assert 0.95 < ratio.low < 1 < ratio.high < 1.05


def test_a_virtual_clock_gives_the_bare_ratio():
    ratio = exact_ratio([np.array([100.0, 100.0, 101.0])], [np.array([105.0])], 0.5)
    assert (ratio.value, ratio.low, ratio.high) == (1.05, 1.05, 1.05)


def test_means_without_samples_have_an_interval_of_their_deviation():
    wide, narrow = (mean_ratio((1e7, d, 100), (1.2e7, d, 100)) for d in (3e6, 1e5))
    assert wide.value == narrow.value == pytest.approx(1.2)
    assert wide.low < narrow.low < 1.2 < narrow.high < wide.high
    assert narrow.beyond(EFFECT)


def _result(samples: list[int], rounds: list[int]) -> Result:
    row = failed_result(Artifact("m", "0" * 64, 1, "litert", "int8", [], []), 1, "")
    return dataclasses.replace(row, latency_ns=dataclasses.replace(row.latency_ns, samples=samples, rounds=rounds))


@pytest.mark.parametrize(
    ("rounds", "parts"), [([2, 1], [[1, 2], [3]]), ([2, 0, 1], [[1, 2], [3]]), ([], [[1, 2, 3]]), ([7], [[1, 2, 3]])]
)
def test_samples_are_those_of_each_process(rounds: list[int], parts: list[list[int]]) -> None:
    assert [part.tolist() for part in samples_by_round(_result([1, 2, 3], rounds).latency_ns)] == parts


def test_a_ratio_of_medians_needs_samples_on_both_sides() -> None:
    measured, failed = _result([100, 101, 102, 103], [2, 2]), _result([], [])
    assert median_ratio(measured, failed) is None
    assert median_ratio(failed, measured) is None
    slower = _result([201, 202, 204, 206], [2, 2])
    exact = median_ratio(measured, slower, exact=True)
    assert exact == Ratio(2.0, 2.0, 2.0)
    noisy = median_ratio(measured, slower)
    assert noisy is not None
    assert noisy.low < 2.0 < noisy.high
