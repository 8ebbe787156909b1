from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.state import Sources
from edgeconv.benchmarks.agent.state.jetson import JetsonReader, parse_power_mode, parse_release, parse_tegrastats


def test_orin_nano(sample):
    reading = parse_tegrastats(sample("tegrastats-orin-nano.txt"))
    assert reading.power_watts == {"VDD_IN": 17.946, "VDD_CPU_GPU_CV": 8.896, "VDD_SOC": 3.923}
    assert reading.temperatures_celsius["cpu"] == 65.562
    assert reading.temperatures_celsius["tj"] == 65.562
    assert len(reading.temperatures_celsius) == 9


def test_agx_orin_leaves_out_sensors_that_are_off_and_rails_that_are_not_connected(sample):
    reading = parse_tegrastats(sample("tegrastats-agx-orin.txt"))
    assert set(reading.temperatures_celsius) == {"CPU", "Tboard", "SOC2", "Tdiode", "SOC0", "tj", "SOC1"}
    assert reading.power_watts == {
        "VDD_GPU_SOC": 2.34,
        "VDD_CPU_CV": 0.39,
        "VIN_SYS_5V0": 4.025,
        "VDDQ_VDD2_1V8AO": 0.301,
    }


def test_nano_leaves_out_the_dummy_sensor(sample):
    reading = parse_tegrastats(sample("tegrastats-nano.txt"))
    assert reading.temperatures_celsius == {"PLL": 57.0, "CPU": 60.5, "GPU": 59.0, "AO": 65.0, "thermal": 59.75}
    assert reading.power_watts == {"POM_5V_IN": 4.52, "POM_5V_GPU": 0.0, "POM_5V_CPU": 1.078}


def test_powers_without_a_unit_are_milliwatts_too(sample):
    reading = parse_tegrastats(sample("tegrastats-xavier-nx.txt"))
    assert reading.power_watts == {"VDD_IN": 3.875, "VDD_CPU_GPU_CV": 0.874, "VDD_SOC": 1.037}


@pytest.mark.parametrize(("name", "mode"), [("nvpmodel-nano.txt", "MAXN"), ("nvpmodel-orin-nano.txt", "MAXN_SUPER")])
def test_power_mode(sample, name, mode):
    assert parse_power_mode(sample(name)) == mode


@pytest.mark.parametrize(("name", "release"), [("r32", "R32.7.1"), ("r35", "R35.4.1"), ("r36", "R36.4.3")])
def test_release(sample, name, release):
    assert parse_release(sample(f"nv_tegra_release-{name}.txt")) == release


@given(st.text())
def test_parsers_take_any_text(text):
    parse_tegrastats(text)
    parse_power_mode(text)
    parse_release(text)


@given(st.from_regex(r"\A([A-Z_]{1,9} [0-9]{1,40}(mW)?/[0-9]{1,5}(mW)? ?|[a-z]{1,3}@-?[0-9]{1,40}C ?){1,4}\Z"))
def test_numbers_of_any_size_are_taken(line):
    reading = parse_tegrastats(line)
    assert all(-40 < celsius < 150 for celsius in reading.temperatures_celsius.values())


def jetpack_6(tree, sample):
    tree.put({"etc/nv_tegra_release": sample("nv_tegra_release-r36.txt")})
    return tree.tool("nvpmodel", {"-q": sample("nvpmodel-orin-nano.txt")})


def test_ina_sensors_are_read_from_the_kernel(tree, sample):
    ina = "sys/class/hwmon/hwmon1"
    jetpack_6(tree, sample).put(
        {
            f"{ina}/name": "ina3221",
            f"{ina}/in1_label": "VDD_IN",
            f"{ina}/in1_input": "5056",
            f"{ina}/curr1_input": "1000",
            f"{ina}/in2_label": "NC",
            f"{ina}/in2_input": "0",
            f"{ina}/curr2_input": "0",
            f"{ina}/in3_label": "VDD_SOC",
            f"{ina}/in3_input": "5056",
            "sys/class/hwmon/hwmon0/name": "pwmfan",
        }
    )
    reader = JetsonReader(Sources(tree.root))
    reading = reader.read()
    reader.close()
    assert reading.power_watts == {"VDD_IN": 5.056}  # VDD_SOC has no current: absent, not 0
    assert reading.power_mode == "MAXN_SUPER"
    assert reading.facts == {"l4t": "R36.4.3"}


def test_jetpack_4_has_milliwatts_in_iio(tree, sample):
    ina = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    tree.put({"etc/nv_tegra_release": sample("nv_tegra_release-r32.txt")})
    tree.put({f"{ina}/rail_name_0": "POM_5V_IN", f"{ina}/in_power0_input": "4520"})
    reader = JetsonReader(Sources(tree.root))
    assert reader.read().power_watts == {"POM_5V_IN": 4.52}


def test_tegrastats_runs_beside_us_where_the_sensors_are_locked(tree, sample):
    jetpack_6(tree, sample).tool("tegrastats", {"--interval 1000": sample("tegrastats-orin-nano.txt")})
    reader = JetsonReader(Sources(tree.root))
    reading = reader.read()
    reader.close()
    assert reading.power_watts["VDD_IN"] == 17.946
    assert reading.temperatures_celsius["cpu"] == 65.562


def test_nothing_is_made_up_where_nothing_can_be_read(tree, sample):
    tree.put({"etc/nv_tegra_release": sample("nv_tegra_release-r35.txt")})
    reading = JetsonReader(Sources(tree.root)).read()
    assert (reading.power_watts, reading.temperatures_celsius, reading.power_mode) == ({}, {}, None)
