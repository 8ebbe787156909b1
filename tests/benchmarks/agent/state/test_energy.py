from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.state import Look, Reading
from edgeconv.benchmarks.agent.state.energy import counted_rails, energy_joules
from edgeconv.benchmarks.agent.state.jetson import parse_tegrastats
from edgeconv.benchmarks.agent.state.raspberry import parse_rails

SECOND = 1_000_000_000


def looks(*watts):
    return [Look(i * SECOND, Reading(power_watts={} if w is None else {"VDD_IN": w})) for i, w in enumerate(watts)]


def test_energy_is_power_times_time():
    assert energy_joules(looks(5.0, 5.0, 5.0, 5.0), SECOND, 3 * SECOND) == pytest.approx(10.0)


def test_between_two_looks_the_power_is_on_a_straight_line():
    assert energy_joules(looks(0.0, 4.0), SECOND // 4, SECOND // 2) == pytest.approx(0.25 * 1.5)


def test_a_look_without_power_is_bridged():
    assert energy_joules(looks(5.0, None, 5.0), 0, 2 * SECOND) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("seen", "begin", "end"),
    [
        ([], 0, 1),
        (looks(None, None), 0, SECOND),
        (looks(5.0), 0, 0),
        (looks(5.0, 5.0), 0, 2 * SECOND),
        (looks(5.0, 5.0), -1, 5),
    ],
)
def test_energy_is_absent_where_the_looks_do_not_cover_the_span(seen, begin, end):
    assert energy_joules(seen, begin, end) is None


def test_a_rail_that_holds_the_others_counts_alone(sample):
    rails = parse_tegrastats(sample("tegrastats-orin-nano.txt")).power_watts
    assert counted_rails(rails) == ["VDD_IN"]
    assert counted_rails(parse_tegrastats(sample("tegrastats-nano.txt")).power_watts) == ["POM_5V_IN"]
    assert counted_rails(parse_tegrastats(sample("tegrastats-agx-orin.txt")).power_watts) == [
        "VDD_GPU_SOC",
        "VDD_CPU_CV",
        "VIN_SYS_5V0",
    ]


def test_all_rails_of_a_pi_5_count(sample):
    assert len(counted_rails(parse_rails(sample("pmic-pi5.txt")))) == 12


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=8),
    st.integers(0, 7 * SECOND),
    st.integers(0, 7 * SECOND),
    st.integers(0, 7 * SECOND),
)
def test_energy_of_two_neighbouring_spans_adds_up(watts, a, b, c):
    begin, middle, end = sorted((a, b, c))
    seen = looks(*watts)
    parts = [energy_joules(seen, begin, middle), energy_joules(seen, middle, end)]
    whole = energy_joules(seen, begin, end)
    if None not in (*parts, whole):
        assert sum(parts) == pytest.approx(whole, rel=1e-6, abs=1e-9)
        assert min(watts) * (end - begin) / SECOND <= whole + 1e-6
        assert whole <= max(watts) * (end - begin) / SECOND + 1e-6
