from __future__ import annotations

import pytest

from edgeconv.benchmarks.settings import RunSettings, make_settings, parse_options
from edgeconv.errors import UsageError


def test_without_a_flag_the_targets_clock_decides():
    assert make_settings() is None


def test_seconds_and_rounds_are_taken():
    settings = make_settings(min_seconds=6.0, rounds=5)
    assert (settings.protocol.min_seconds, settings.rounds, settings.attempts) == (6.0, 5, 3)
    assert settings.protocol.share(5).min_seconds == pytest.approx(1.2)


def test_sustained_is_one_long_process():
    settings = make_settings(sustained=10.0, cool_down=45.0)
    assert (settings.rounds, settings.attempts) == (1, 1)
    assert (settings.protocol.mode, settings.protocol.min_seconds) == ("sustained", 600.0)
    assert settings.protocol.cool_down_celsius == 45.0


def test_bursts_are_many_enough_to_say_something_about_the_first():
    protocol = make_settings(burst=10).protocol
    assert (protocol.mode, protocol.burst_count, protocol.min_count) == ("burst", 10, 120)


def test_a_count_leaves_no_seconds():
    settings = make_settings(count=25, rounds=2)
    assert settings.protocol.min_seconds == settings.protocol.extra_seconds == settings.protocol.warmup_seconds == 0
    assert (settings.protocol.min_count, settings.rounds, settings.attempts) == (25, 2, 1)


def test_all_numbers_of_the_settings_go_into_the_record():
    numbers = RunSettings.quick().numbers()
    assert {"min_seconds", "min_count", "tolerance", "rounds", "attempts"} <= set(numbers)
    assert all(type(value) is float for value in numbers.values())


@pytest.mark.parametrize(
    "flags",
    [
        {"sustained": 1.0, "burst": 3},
        {"sustained": 1.0, "rounds": 3},
        {"sustained": 1.0, "min_seconds": 3.0},
        {"count": 3, "min_seconds": 3.0},
        {"count": 3, "burst": 3},
        {"sustained": 0.0},
        {"sustained": float("inf")},
        {"burst": 0},
        {"count": 0},
        {"rounds": 0},
        {"min_seconds": -1.0},
        {"cool_down": -1.0},
    ],
)
def test_flags_that_exclude_each_other_or_mean_nothing_are_refused(flags):
    with pytest.raises(UsageError):
        make_settings(**flags)


def test_options_are_sorted_by_runtime():
    found = parse_options(["onnxruntime.provider=cuda", "onnxruntime.spinning=off", "litert.xnnpack=off"])
    assert found == {"onnxruntime": {"provider": "cuda", "spinning": "off"}, "litert": {"xnnpack": "off"}}
    assert parse_options([]) == {}


@pytest.mark.parametrize("text", ["provider=cuda", "onnxruntime.provider", "onnxruntime.=x", ".a=b", "litert.a=", ""])
def test_an_option_of_another_form_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"onnxruntime\.provider=cuda"):
        parse_options([text])


def test_an_option_of_an_unknown_runtime_or_with_two_values_is_refused():
    with pytest.raises(UsageError, match="Did you mean"):
        parse_options(["onnx.provider=cpu"])
    with pytest.raises(UsageError, match="given twice"):
        parse_options(["litert.xnnpack=on", "litert.xnnpack=off"])
