from __future__ import annotations

import itertools

import pytest

from edgeconv.benchmarks.agent.cooldown import cool_down
from edgeconv.errors import DeviceError


class Board:
    """Cools by `step` degrees a second."""

    def __init__(self, celsius, step):
        self.now, self._celsius, self._step, self.reports = 0.0, celsius, step, 0

    def hottest(self):
        return self._celsius - self._step * self.now

    def sleep(self, seconds):
        self.now += seconds

    def report(self):
        self.reports += 1

    def wait(self, limit, max_seconds=600.0):
        return cool_down(limit, max_seconds, self.hottest, self.report, lambda: self.now, self.sleep)


def test_it_waits_until_the_hottest_zone_is_below_the_limit():
    board = Board(80.0, 0.5)
    found = board.wait(50.0)
    assert found.reached_celsius < 50.0
    assert 60.0 < found.waited_seconds < 65.0
    assert found.failure is None
    assert board.reports > 10
    assert "°C" in str(found)


def test_it_does_not_wait_when_it_is_cool_already():
    assert Board(40.0, 0.0).wait(50.0).waited_seconds == 0


def test_it_gives_up_and_says_so_when_it_stays_hot():
    found = Board(80.0, 0.01).wait(50.0, max_seconds=100.0)
    assert found.waited_seconds == pytest.approx(100.0)
    assert "not cool enough" in found.failure
    assert "50.0 °C" in found.failure


def test_a_device_without_a_sensor_is_refused():
    with pytest.raises(DeviceError, match="no temperature"):
        cool_down(50.0, 10.0, lambda: None)


def test_a_sensor_that_vanishes_meanwhile_is_an_error_too():
    readings = itertools.chain([80.0], itertools.repeat(None))
    with pytest.raises(DeviceError):
        cool_down(50.0, 10.0, lambda: next(readings), clock=lambda: 0.0, sleep=lambda seconds: None)
