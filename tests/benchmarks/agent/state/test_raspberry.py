from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.state import Sources, StateReader
from edgeconv.benchmarks.agent.state.raspberry import (
    RaspberryReader,
    parse_clock,
    parse_rails,
    parse_temperature,
    parse_throttled,
    throttle_words,
)

PI = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}


def vcgencmd(flags="throttled=0x0\n", pmic="", clock="frequency(0)=2400033792\n"):
    return {
        "get_throttled": flags,
        "measure_temp": "temp=39.2'C\n",
        "measure_clock arm": clock,
        "pmic_read_adc": pmic,
    }


@pytest.mark.parametrize(
    ("text", "flags"),
    [("throttled=0x50000\n", 0x50000), ("throttled=0x0\n", 0), ('error=1 error_msg="Command not registered"\n', None)],
)
def test_flags_are_parsed(text, flags):
    assert parse_throttled(text) == flags


@pytest.mark.parametrize(
    ("flags", "last", "words"),
    [
        (0x0, None, []),
        (0x50000, None, []),  # has held some time since boot: that proves nothing about this run
        (0x50000, 0x50000, []),
        (0x50005, 0x50000, ["under-voltage", "throttled"]),
        (0x10000, 0x0, ["under-voltage"]),  # came and went between two looks
        (0x90000, 0x10000, ["soft temperature limit"]),
        (0xE0008, 0xE0000, ["soft temperature limit"]),
        (0x20002, 0x0, ["frequency capped"]),
    ],
)
def test_only_what_holds_or_is_newly_sticky_counts(flags, last, words):
    assert throttle_words(flags, last) == words


@given(st.integers(0, 0xFFFFF), st.integers(0, 0xFFFFF))
def test_a_sticky_flag_that_was_set_before_is_never_a_reason(now, before):
    sticky_only = (now & before) & 0xF0000
    assert throttle_words(sticky_only, before) == []


def test_power_rails_of_a_pi_5_are_current_times_voltage(sample):
    rails = parse_rails(sample("pmic-pi5.txt"))
    assert len(rails) == 12  # EXT5V and BATT have no current
    assert rails["VDD_CORE"] == pytest.approx(10.87674 * 0.8974594)
    assert rails["DDR_VDDQ"] == 0.0
    assert sum(rails.values()) == pytest.approx(10.79, abs=0.01)


def test_rails_without_a_voltage_are_left_out(sample):
    assert parse_rails(sample("pmic-pi5-trimmed.txt")) == {}


def test_clock_and_temperature_are_parsed():
    assert parse_clock("frequency(45)=1400000000\n") == 1_400_000
    assert parse_clock("frequency(45)=0\n") is None
    assert parse_temperature("temp=39.2'C\n") == 39.2


@given(st.text())
def test_parsers_take_any_text(text):
    parse_clock(text)
    parse_rails(text)
    parse_temperature(text)
    parse_throttled(text)


def test_a_pi_5_is_read_by_its_firmware(tree, sample):
    tree.put({**PI, "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "2400000\n"})
    tree.tool("vcgencmd", vcgencmd("throttled=0x50005\n", sample("pmic-pi5.txt"), "frequency(0)=1500398464\n"))
    reading = StateReader(Sources(tree.root)).look().reading
    assert reading.throttled == ["under-voltage", "throttled"]
    assert reading.facts["throttled"] == "0x50005"
    assert reading.frequencies_khz == {"policy0": 1_500_398}  # the true one, not the one that cpufreq asked for
    assert reading.temperatures_celsius == {"vcgencmd": 39.2}
    assert reading.power_watts["VDD_CORE"] > 9


def test_the_thermal_zone_is_enough_where_there_is_one(tree):
    tree.put(
        {**PI, "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "48650"}
    )
    tree.tool("vcgencmd", vcgencmd())
    assert StateReader(Sources(tree.root)).look().reading.temperatures_celsius == {"cpu-thermal": 48.65}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"}, ["under-voltage", "throttled"]),
        (
            {"sys/class/hwmon/hwmon1/name": "rpi_volt", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"},
            ["under-voltage"],
        ),
        ({}, None),
    ],
)
def test_without_vcgencmd_the_kernel_is_asked(tree, files, words):
    tree.put({**PI, **files})
    reader = RaspberryReader.detect(Sources(tree.root))
    assert reader is not None
    assert reader.read().throttled == words


def test_a_board_that_throttles_between_two_looks_is_caught(tree):
    tree.put(PI).tool("vcgencmd", vcgencmd("throttled=0x0\n"))
    reader = RaspberryReader(Sources(tree.root))
    assert reader.read().throttled == []
    tree.tool("vcgencmd", vcgencmd("throttled=0x40000\n"))
    assert reader.read().throttled == ["throttled"]
    assert reader.read().throttled == []


def test_other_boards_are_not_taken_for_a_pi(tree):
    tree.put({"proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0"})
    assert RaspberryReader.detect(Sources(tree.root)) is None
