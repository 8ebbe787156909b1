from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.state import Reading, Sources, StateReader
from edgeconv.benchmarks.agent.state.linux import LinuxReader, meminfo_bytes
from edgeconv.benchmarks.agent.state.look import hottest_celsius

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
BOARD = {
    "proc/loadavg": "0.52 0.58 0.59 1/123 4567\n",
    "proc/meminfo": "MemTotal:        8245000 kB\nMemFree: 100 kB\nMemAvailable:    7000000 kB\n",
    f"{POLICY}/scaling_governor": "ondemand\n",
    f"{POLICY}/scaling_cur_freq": "1500000\n",
    f"{POLICY}/scaling_max_freq": "2400000\n",
    # A Raspberry Pi 5's zone: MichaIng/DietPi#6676.
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48650\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "active\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "50000\n",
}


def read(tree):
    return LinuxReader(Sources(tree.root)).read()


def test_a_board_is_read(tree):
    reading = read(tree.put(BOARD))
    assert reading.load_average == 0.52
    assert reading.available_bytes == 7_000_000 * 1024
    assert reading.frequencies_khz == {"policy0": 1_500_000}
    assert reading.reference_khz == {"policy0": 2_400_000}
    assert reading.governors == {"policy0": "ondemand"}
    assert reading.temperatures_celsius == {"cpu-thermal": 48.65}
    assert reading.trips_celsius == {"cpu-thermal": 110.0}  # a fan's trip slows nothing down


def test_nothing_is_made_up_where_the_system_tells_nothing(tree):
    assert StateReader(Sources(tree.root)).look().reading == Reading()


def test_clocks_of_single_cores_count_where_there_are_no_policies(tree):
    core = "sys/devices/system/cpu/cpu3/cpufreq"
    assert read(tree.put({f"{core}/scaling_cur_freq": "918000\n"})).frequencies_khz == {"cpu3": 918_000}


@pytest.mark.parametrize(
    ("files", "reference"),
    [
        ({}, 4_700_000),
        ({f"{POLICY}/base_frequency": "2400000"}, 2_400_000),
        ({"sys/devices/system/cpu/intel_pstate/status": "active"}, None),
        ({"sys/devices/system/cpu/cpufreq/boost": "1"}, None),
        ({"sys/devices/system/cpu/cpufreq/boost": "0"}, 4_700_000),
    ],
)
def test_a_turbo_clock_is_nothing_to_hold(tree, files, reference):
    tree.put({f"{POLICY}/scaling_max_freq": "4700000", f"{POLICY}/scaling_cur_freq": "3000000", **files})
    assert read(tree).reference_khz.get("policy0") == reference


def test_the_governor_of_a_driver_that_scales_by_itself_is_told_apart(tree):
    tree.put({f"{POLICY}/scaling_governor": "powersave", f"{POLICY}/scaling_driver": "intel_pstate"})
    assert read(tree).governors == {"policy0": "powersave (intel_pstate)"}


@pytest.mark.parametrize("millidegrees", ["-256000", "0", "200000", "", "hot"])
def test_a_zone_that_is_off_is_absent(tree, millidegrees):
    zone = "sys/class/thermal/thermal_zone7"
    assert read(tree.put({f"{zone}/type": "gpu", f"{zone}/temp": millidegrees})).temperatures_celsius == {}


def test_zones_of_the_same_type_are_kept_apart(tree):
    for i in (0, 1):
        tree.put(
            {f"sys/class/thermal/thermal_zone{i}/type": "cpu", f"sys/class/thermal/thermal_zone{i}/temp": f"4{i}000"}
        )
    assert read(tree).temperatures_celsius == {"cpu": 40.0, "cpu (thermal_zone1)": 41.0}


def test_cooling_that_slows_processors_down_is_told(tree):
    cooling = "sys/class/thermal"
    tree.put({f"{cooling}/cooling_device0/type": "pwm-fan", f"{cooling}/cooling_device0/cur_state": "4"})
    assert read(tree).throttled is None
    tree.put({f"{cooling}/cooling_device1/type": "cpufreq-cpu0", f"{cooling}/cooling_device1/cur_state": "0"})
    assert read(tree).throttled == []
    tree.put({f"{cooling}/cooling_device1/cur_state": "2"})
    assert read(tree).throttled == ["cpufreq-cpu0 slows it down for heat"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "slowed down for heat"),
        ("sys/class/hwmon/hwmon3/oc1_event_cnt", "slowed down for over-current"),
    ],
)
def test_events_count_only_when_they_are_new(tree, path, words):
    tree.put({path: "7\n"})
    reader = LinuxReader(Sources(tree.root))
    assert reader.read().throttled == []
    assert reader.read().throttled == []
    tree.put({path: "8\n"})
    (told,) = reader.read().throttled
    assert words in told
    assert reader.read().throttled == []


def test_battery_is_a_fact(tree):
    supply = "sys/class/power_supply/BAT0"
    tree.put({f"{supply}/type": "Battery", f"{supply}/capacity": "84", f"{supply}/status": "Discharging"})
    assert read(tree).facts == {"battery": "84 %, discharging"}


@given(st.dictionaries(st.sampled_from(sorted(BOARD)), st.text(st.characters(exclude_categories=["Cs"]))))
def test_files_may_hold_anything(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("system")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    StateReader(Sources(root)).look()


def test_meminfo_that_is_cut_off_is_unknown(tree):
    tree.put({"proc/meminfo": "MemTotal:\nMemAvailable: kB\n"})
    assert meminfo_bytes(Sources(tree.root), "MemAvailable:") is None


@pytest.mark.parametrize(
    ("temperatures", "hottest"),
    [({}, None), ({"cpu": 50.0, "gpu": 60.0, "PMIC": 90.0}, 60.0), ({"battery": 31.0}, 31.0)],
)
def test_the_hottest_sensor_is_one_near_the_processor(tree, temperatures, hottest):
    look = StateReader(Sources(tree.root)).look()
    assert hottest_celsius(type(look)(0, Reading(temperatures_celsius=temperatures)).sample(0)) == hottest


def test_this_machine_is_read():
    look = StateReader().look()
    assert look.reading.load_average is not None
    assert look.reading.available_bytes > 0
