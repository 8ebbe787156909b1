from __future__ import annotations

import time

import pytest

from edgeconv.devices.transports.patience import patiently
from edgeconv.errors import ConnectionLostError, DeviceError


def failing(times, error=None):
    calls = []

    def attempt():
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise error or ConnectionLostError("it dropped")
        return len(calls)

    return attempt


def test_it_is_tried_until_it_works():
    assert patiently(failing(2), 10) == 3


def test_it_is_given_up_after_its_time():
    with pytest.raises(ConnectionLostError, match="it dropped") as caught:
        patiently(failing(1000), 1.2)
    assert "tried again for 1 s" in caught.value.hint


def test_any_answer_gives_it_all_its_time_again():
    """Several drops in a long run are no failure, as long as each one is mended."""
    assert patiently(failing(4), 1.0, last_heard=time.monotonic) == 5


def test_another_error_is_not_tried_again():
    attempt = failing(1, DeviceError("no such user"))
    with pytest.raises(DeviceError, match="no such user"):
        patiently(attempt, 10)
    assert attempt() == 2
