from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.state import Sources, StateReader
from edgeconv.benchmarks.agent.state.android import AndroidReader, parse_battery, parse_thermal_service


def test_the_current_temperatures_count_not_the_cached_ones(sample):
    found = parse_thermal_service(sample("thermalservice-shield.txt"))
    assert found.status == 0
    assert found.temperatures_celsius == {"CPU0": 66.5, "CPU1": 66.5}


def test_sensors_that_are_not_fitted_say_0_and_are_left_out(sample):
    found = parse_thermal_service(sample("thermalservice-samsung.txt"))
    assert found.temperatures_celsius == {"AP": 25.6, "BAT": 23.8, "LRB": 24.7, "LRF": 24.7, "LRP": 24.7, "PA": 25.7}


def test_volts_amperes_and_differences_are_no_temperatures(sample):
    found = parse_thermal_service(sample("thermalservice-pixel.txt"))
    assert set(found.temperatures_celsius) == {
        "TPU", "G3D", "BIG", "LITTLE", "MID", "cellular-emergency", "VIRTUAL-SKIN", "battery",
    }  # fmt: skip
    assert found.status is None


def test_cooling_devices_that_work_are_named(sample):
    text = sample("thermalservice-qualcomm.txt")
    assert parse_thermal_service(text).slowed_down_by == []
    hot = text.replace("mValue=0, mType=2, mName=thermal-cpufreq-6", "mValue=3, mType=2, mName=thermal-cpufreq-6")
    assert parse_thermal_service(hot).slowed_down_by == ["thermal-cpufreq-6 slows it down for heat"]


def test_nothing_is_known_while_the_hal_is_not_ready(sample):
    found = parse_thermal_service(sample("thermalservice-not-ready.txt"))
    assert found.temperatures_celsius == {}


def test_battery(sample):
    battery = parse_battery(sample("battery-samsung.txt"))
    assert (battery.level_percent, battery.status, battery.temperature_celsius) == (84, "charging", 32.6)
    assert battery.plugged


def test_battery_of_a_box(sample):
    battery = parse_battery(sample("battery-box.txt"))
    assert (battery.level_percent, battery.status, battery.plugged) == (90, "charging", True)


def test_battery_is_unknown_without_an_answer():
    battery = parse_battery("")
    assert (battery.level_percent, battery.status, battery.temperature_celsius) == (None, None, None)


@given(st.text())
def test_parsers_take_any_text(text):
    parse_thermal_service(text)
    parse_battery(text)


@given(
    st.integers(-1, 30),
    st.lists(st.tuples(st.from_regex(r"\A[-+.0-9eE]{1,12}\Z"), st.integers(-5, 20)), max_size=5),
)
def test_parsers_take_any_number(status, sensors):
    lines = [
        f"Temperature{{mValue={value}, mType={kind}, mName=x{i}, mStatus=0}}" for i, (value, kind) in enumerate(sensors)
    ]
    found = parse_thermal_service("\n".join([f"Thermal Status: {status}", "Current temperatures from HAL:", *lines]))
    assert found.status is None or 0 <= found.status <= 6
    assert all(-40 < celsius < 150 and celsius != 0 for celsius in found.temperatures_celsius.values())


def phone(tree, thermal, battery="", saver="0\n"):
    tree.tool("dumpsys", {"thermalservice": thermal, "battery": battery}, folder="system/bin")
    return tree.tool("settings", {"get global low_power": saver}, folder="system/bin")


def test_a_phone_is_read_by_dumpsys(tree, sample):
    hot = sample("thermalservice-shield.txt").replace("Thermal Status: 0", "Thermal Status: 2")
    phone(tree, hot, sample("battery-samsung.txt"), "1\n")
    reading = StateReader(Sources(tree.root)).look().reading
    assert reading.throttled == ["thermal status moderate"]
    assert reading.temperatures_celsius == {"CPU0": 66.5, "CPU1": 66.5}
    assert reading.power_mode == "battery saver"
    assert reading.facts == {"battery": "84 %, charging"}


def test_sysfs_counts_where_the_hal_is_not_ready(tree, sample):
    phone(tree, sample("thermalservice-not-ready.txt"), sample("battery-samsung.txt"))
    tree.put({"sys/class/thermal/thermal_zone0/type": "cpuss-0", "sys/class/thermal/thermal_zone0/temp": "26400"})
    reading = StateReader(Sources(tree.root)).look().reading
    assert reading.temperatures_celsius["cpuss-0"] == 26.4


def test_the_battery_is_better_than_nothing(tree, sample):
    phone(tree, sample("thermalservice-not-ready.txt"), sample("battery-samsung.txt"))
    assert StateReader(Sources(tree.root)).look().reading.temperatures_celsius == {"battery": 32.6}


def test_a_phone_that_says_nothing_is_unknown(tree):
    phone(tree, "", "", "null\n")
    reading = StateReader(Sources(tree.root)).look().reading
    assert (reading.throttled, reading.temperatures_celsius, reading.power_mode) == (None, {}, None)


@pytest.mark.parametrize("files", [{}, {"usr/bin/vcgencmd": ""}])
def test_other_systems_are_not_taken_for_android(tree, files):
    tree.put(files)
    assert AndroidReader.detect(Sources(tree.root)) is None
