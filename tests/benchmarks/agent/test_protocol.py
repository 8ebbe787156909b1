from __future__ import annotations

import gc
import itertools

import pytest

from edgeconv.benchmarks.agent.protocol import LatencyProtocol, take_samples, unsteadiness
from edgeconv.errors import UsageError

MS = 1_000_000


class Model:
    """Takes the given milliseconds an inference, on a clock of its own."""

    def __init__(self, milliseconds):
        self.now = 0
        self.runs = 0
        self._milliseconds = iter(milliseconds)

    def clock(self):
        return self.now

    def run(self, inputs):
        assert not gc.isenabled()
        assert inputs == ["x"]
        self.now += int(next(self._milliseconds) * MS)
        self.runs += 1
        return [self.runs]


def measure(milliseconds, **settings):
    model = Model(milliseconds)
    return model, take_samples(model.run, ["x"], LatencyProtocol(**settings), model.clock)


def test_sampling_lasts_min_seconds_when_the_count_is_reached_sooner():
    _, samples = measure(itertools.repeat(10.0), min_seconds=2.0, min_count=44)
    assert len(samples.timed) == 200
    assert sum(samples.timed) == 2000 * MS
    assert samples.unsteady is None


def test_sampling_lasts_min_count_when_the_time_is_over_sooner():
    _, samples = measure(itertools.repeat(100.0), min_seconds=2.0, min_count=44)
    assert len(samples.timed) == 44


def test_sampling_ends_at_the_maximum_when_the_model_is_slow():
    _, samples = measure(itertools.repeat(500.0), min_seconds=2.0, min_count=44, extra_seconds=4.0)
    assert len(samples.timed) == 12


def test_one_sample_is_taken_when_the_model_takes_longer_than_the_maximum():
    _, samples = measure(itertools.repeat(90_000.0), min_seconds=2.0, extra_seconds=4.0)
    assert len(samples.timed) == 1
    assert samples.unsteady is None


def test_every_inference_is_recorded_in_order_and_none_is_dropped():
    milliseconds = [10.0 + 0.01 * (i % 7) + (900.0 if i == 100 else 0.0) for i in range(1000)]
    model, samples = measure(milliseconds)
    taken = [int(value * MS) for value in milliseconds[: model.runs]]
    assert samples.warmup + samples.timed == taken
    assert max(samples.timed) >= 910 * MS


def test_warm_up_goes_on_until_it_has_settled():
    cooling = [80.0, 60.0, 40.0, 30.0, 20.0, 15.0, 12.0] * 2 + [10.0] * 1000
    _, samples = measure(cooling, warmup_seconds=0.25)
    assert samples.warmup[-1] == 10 * MS
    assert set(samples.timed) == {10 * MS}


def test_sampling_is_extended_until_a_disturbance_is_outweighed():
    disturbed = [10.0] * 50 + [20.0] * 50 + [10.0] * 10_000
    _, samples = measure(disturbed, warmup_seconds=0.5, min_seconds=2.0, extra_seconds=8.0)
    assert samples.unsteady is None
    assert 2000 * MS < sum(samples.timed) < 10_000 * MS
    assert samples.timed.count(20 * MS) == 50


def test_a_drifting_latency_is_reported_and_kept_when_the_maximum_is_reached():
    _, samples = measure((10.0 * 1.01**i for i in itertools.count()), min_seconds=2.0, extra_seconds=4.0)
    assert "not steady" in samples.unsteady
    assert sum(samples.timed) >= 6000 * MS


def test_the_collector_is_on_again_even_when_an_inference_fails():
    with pytest.raises(StopIteration):
        measure([10.0])
    assert gc.isenabled()


def test_unsteadiness_compares_medians_so_that_single_outliers_do_not_count():
    assert unsteadiness([10, 10, 10, 999, 10, 10, 10, 10, 10], 0.1) is None
    assert unsteadiness([10, 10, 10, 10, 10, 10, 13, 13, 13], 0.1) is not None
    assert unsteadiness([10, 99], 0.1) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"min_seconds": -1.0},
        {"extra_seconds": float("inf")},
        {"warmup_seconds": float("nan")},
        {"min_count": 0},
        {"tolerance": 0.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UsageError, match="latency protocol"):
        LatencyProtocol(**settings)
