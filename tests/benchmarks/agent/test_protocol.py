from __future__ import annotations

import gc
import itertools
import math
from array import array

import pytest

from edgeconv.benchmarks.agent.protocol import (
    LatencyProtocol,
    Sampling,
    collector_off,
    take_samples,
    unsteadiness,
    warm_up,
)
from edgeconv.errors import UsageError

MS = 1_000_000


class Model:
    """Takes the given milliseconds an inference, on a clock of its own."""

    def __init__(self, milliseconds):
        self.now = 0
        self.runs = 0
        self.rests = []
        self._milliseconds = iter(milliseconds)

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.rests.append(self.runs)
        self.now += int(seconds * 1e9)

    def run(self, inputs):
        assert not gc.isenabled()
        assert inputs == ["x"]
        self.now += int(next(self._milliseconds) * MS)
        self.runs += 1
        return [self.runs]


def measure(milliseconds, **settings):
    """The model, its warm-up and its samples."""
    model, protocol = Model(milliseconds), LatencyProtocol(**{"warmup_seconds": 0.5, **settings})
    sampling = Sampling(model.run, ["x"], model.clock, model.sleep)
    with collector_off():
        warmup = warm_up(sampling, protocol)
        return model, warmup, take_samples(sampling, protocol)


def test_sampling_lasts_min_seconds_when_the_count_is_reached_sooner():
    _, _, samples = measure(itertools.repeat(10.0), min_seconds=2.0, min_count=44)
    assert len(samples.timed) == 200
    assert sum(samples.timed) == 2000 * MS
    assert samples.unsteady is None


def test_sampling_lasts_min_count_when_the_time_is_over_sooner():
    _, _, samples = measure(itertools.repeat(100.0), min_seconds=2.0, min_count=44)
    assert len(samples.timed) == 44


def test_sampling_ends_at_the_maximum_when_the_model_is_slow():
    _, _, samples = measure(itertools.repeat(500.0), min_seconds=2.0, min_count=44, extra_seconds=4.0)
    assert len(samples.timed) == 12


def test_one_sample_is_taken_when_the_model_takes_longer_than_the_maximum():
    _, _, samples = measure(itertools.repeat(90_000.0), min_seconds=2.0, extra_seconds=4.0)
    assert len(samples.timed) == 1
    assert samples.unsteady is None


def test_the_count_alone_decides_when_there_are_no_seconds():
    settings = {"min_seconds": 0.0, "extra_seconds": 0.0, "warmup_seconds": 0.0, "min_count": 10}
    _, _, samples = measure(itertools.repeat(5000.0), **settings)
    assert len(samples.timed) == 10


def test_every_inference_is_recorded_in_order_and_none_is_dropped():
    milliseconds = [10.0 + 0.01 * (i % 7) + (900.0 if i == 100 else 0.0) for i in range(1000)]
    model, warmup, samples = measure(milliseconds)
    assert warmup + samples.timed == [int(value * MS) for value in milliseconds[: model.runs]]
    assert max(samples.timed) >= 910 * MS


def test_warm_up_goes_on_until_it_has_settled():
    cooling = [80.0, 60.0, 40.0, 30.0, 20.0, 15.0, 12.0] * 2 + [10.0] * 1000
    _, warmup, samples = measure(cooling, warmup_seconds=0.25)
    assert warmup[-1] == 10 * MS
    assert set(samples.timed) == {10 * MS}


def test_sampling_is_extended_until_a_disturbance_is_outweighed():
    disturbed = [10.0] * 50 + [20.0] * 50 + [10.0] * 10_000
    _, _, samples = measure(disturbed, warmup_seconds=0.5, min_seconds=2.0, extra_seconds=8.0)
    assert samples.unsteady is None
    assert 2000 * MS < sum(samples.timed) < 10_000 * MS
    assert samples.timed.count(20 * MS) == 50


def test_a_drifting_latency_is_reported_and_kept_when_the_maximum_is_reached():
    _, _, samples = measure((10.0 * 1.01**i for i in itertools.count()), min_seconds=2.0, extra_seconds=4.0)
    assert "not steady" in samples.unsteady
    assert sum(samples.timed) >= 6000 * MS


def test_a_sustained_run_goes_on_for_its_time_and_drift_is_no_fault_of_it():
    heating = itertools.chain([10.0] * 3000, itertools.repeat(20.0))
    _, _, samples = measure(heating, mode="sustained", min_seconds=60.0, extra_seconds=0.0)
    assert sum(samples.timed) >= 60_000 * MS
    assert samples.unsteady is None
    assert {samples.timed[0], samples.timed[-1]} == {10 * MS, 20 * MS}


def test_bursts_begin_after_a_rest_and_are_never_torn_apart():
    waking = itertools.cycle([30.0] + [10.0] * 4)
    settings = {"mode": "burst", "burst_count": 5, "idle_seconds": 0.5, "min_count": 33, "min_seconds": 1.0}
    model, warmup, samples = measure(waking, warmup_seconds=0.0, **settings)
    assert len(samples.timed) % 5 == 0
    assert len(samples.timed) >= 33
    assert [rest - len(warmup) for rest in model.rests] == list(range(0, len(samples.timed), 5))
    assert samples.unsteady is None


def test_bursts_that_drift_are_reported():
    slowing = (10.0 * 1.02**i for i in itertools.count())
    settings = {"mode": "burst", "burst_count": 4, "idle_seconds": 0.1, "min_seconds": 1.0, "extra_seconds": 1.0}
    _, _, samples = measure(slowing, warmup_seconds=0.0, **settings)
    assert "not steady" in samples.unsteady


def test_a_report_comes_about_once_a_second_and_takes_no_inferences_time():
    model, told = Model(itertools.repeat(10.0)), []

    def report(phase, samples):
        told.append((phase, len(samples)))
        model.now += 500 * MS  # slow, and not the model's fault

    sampling, samples = Sampling(model.run, ["x"], model.clock, report=report), array("q")
    with collector_off():
        sampling.extend("timed", samples, math.inf, 0, 6_000 * MS)
    assert set(samples) == {10 * MS}
    assert [count for _, count in told] == [100 * i for i in range(1, len(told) + 1)]
    assert {phase for phase, _ in told} == {"timed"}


def test_the_collector_is_on_again_even_when_an_inference_fails():
    with pytest.raises(StopIteration):
        measure([10.0])
    assert gc.isenabled()


def test_unsteadiness_compares_medians_so_that_single_outliers_do_not_count():
    assert unsteadiness([10, 10, 10, 999, 10, 10, 10, 10, 10], 0.1) is None
    assert unsteadiness([10, 10, 10, 10, 10, 10, 13, 13, 13], 0.1) is not None
    assert unsteadiness([10, 99], 0.1) is None


def test_shares_of_several_processes_add_up_to_the_whole():
    whole = LatencyProtocol(min_seconds=3.0, min_count=44, extra_seconds=6.0, warmup_seconds=0.5)
    part = whole.share(3)
    assert (part.min_seconds, part.extra_seconds, part.warmup_seconds) == (1.0, 2.0, 0.5)
    assert 3 * part.min_count >= 44
    assert whole.share(1) == whole
    with pytest.raises(UsageError, match="0 rounds"):
        whole.share(0)


def test_whoever_waits_can_always_give_up():
    assert LatencyProtocol(min_seconds=0.0, extra_seconds=0.0).deadline_seconds < math.inf
    cool = LatencyProtocol(cool_down_celsius=50.0, cool_down_seconds=600.0)
    assert cool.deadline_seconds >= 600 + cool.max_seconds


@pytest.mark.parametrize(
    "settings",
    [
        {"min_seconds": -1.0},
        {"extra_seconds": float("inf")},
        {"warmup_seconds": float("nan")},
        {"min_count": 0},
        {"tolerance": 0.0},
        {"burst_count": 0},
        {"idle_seconds": -0.1},
        {"cool_down_celsius": float("nan")},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UsageError, match="latency protocol"):
        LatencyProtocol(**settings)


def test_an_unknown_mode_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="steady, sustained, burst"):
        LatencyProtocol(mode="sprint")
