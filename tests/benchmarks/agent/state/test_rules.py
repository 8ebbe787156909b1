from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.state import Look, Reading
from edgeconv.benchmarks.agent.state.rules import Limits, invalidates, judge
from edgeconv.benchmarks.agent.usage import Usage
from edgeconv.records import DeviceState

SECOND = 1_000_000_000
# Two seconds, a full core, and a machine of two cores that did nothing else.
IDLE = Usage(2 * SECOND, 2 * SECOND, 5, busy_ticks=200, all_ticks=400, end_ns=12 * SECOND)
GOOD = Reading(
    frequencies_khz={"policy0": 2_400_000},
    reference_khz={"policy0": 2_400_000},
    governors={"policy0": "ondemand"},
    temperatures_celsius={"cpu": 60.0},
    trips_celsius={"cpu": 85.0},
    throttled=[],
)


def looks(*readings, first=9, step=1):
    return [Look((first + i * step) * SECOND, reading) for i, reading in enumerate(readings)]


def with_(**changes):
    return dataclasses.replace(GOOD, **changes)


def test_a_machine_that_did_nothing_else_is_clean():
    assert judge(looks(GOOD, GOOD, GOOD, GOOD, GOOD), IDLE, 100, Limits()) == ("clean", [])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (with_(throttled=["under-voltage"]), "the device says: under-voltage"),
        (with_(frequencies_khz={"policy0": 1_500_000}), "the clock was at 62% of what it should hold"),
        (with_(temperatures_celsius={"cpu": 85.0}), "cpu reached 85 °C, where the system slows down"),
        (with_(governors={"policy0": "powersave"}), "the governor powersave holds the clock at its lowest"),
        (with_(power_mode="battery saver"), "battery saver is on"),
        (with_(reference_khz={"policy0": 2_300_000}), "the clock limit of policy0 was lowered during the run"),
    ],
)
def test_what_slows_a_machine_down_is_throttling(bad, words):
    verdict, reasons = judge(looks(GOOD, bad, bad, bad, GOOD), IDLE, 100, Limits())
    assert verdict == "throttled"
    assert words in reasons


def test_throttling_that_ended_well_before_does_not_count():
    bad = with_(throttled=["throttled"], temperatures_celsius={"cpu": 99.0})
    assert judge(looks(bad, GOOD, GOOD, GOOD, GOOD, first=8), IDLE, 100, Limits()) == ("clean", [])


def test_a_flag_that_shows_only_after_the_end_counts():
    after = with_(throttled=["throttled"])
    assert judge(looks(GOOD, GOOD, GOOD, GOOD, after), IDLE, 100, Limits())[0] == "throttled"


def test_the_clock_before_and_after_does_not_count_for_it_is_idle():
    idle = with_(frequencies_khz={"policy0": 600_000})
    assert judge(looks(idle, GOOD, GOOD, GOOD, idle), IDLE, 100, Limits()) == ("clean", [])


def test_one_dip_of_the_clock_is_none():
    dip = with_(frequencies_khz={"policy0": 600_000})
    assert judge(looks(GOOD, GOOD, dip, GOOD, GOOD), IDLE, 100, Limits()) == ("clean", [])


def test_a_cluster_with_nothing_to_do_may_be_slow():
    two = with_(
        frequencies_khz={"policy0": 300_000, "policy4": 2_300_000},
        reference_khz={"policy0": 1_700_000, "policy4": 2_367_000},
    )
    assert judge(looks(two, two, two, two, two), IDLE, 100, Limits()) == ("clean", [])


def test_a_governor_of_a_driver_that_scales_by_itself_is_good():
    pstate = with_(governors={"policy0": "powersave (intel_pstate)"})
    assert judge(looks(*[pstate] * 5), IDLE, 100, Limits()) == ("clean", [])


def test_other_processes_make_it_busy():
    usage = dataclasses.replace(IDLE, busy_ticks=320)
    verdict, reasons = judge(looks(*[GOOD] * 5), usage, 100, Limits())
    assert (verdict, reasons) == ("busy", ["other processes had 30% of the machine's processor time"])
    assert judge(looks(*[GOOD] * 5), usage, 100, Limits(max_others_share=0.3))[0] == "clean"


def test_being_pushed_off_the_core_makes_it_busy():
    usage = dataclasses.replace(IDLE, cpu_ns=SECOND, involuntary_switches=80, busy_ticks=None, all_ticks=None)
    verdict, reasons = judge(looks(*[GOOD] * 5), usage, 100, Limits())
    assert verdict == "busy"
    assert "pushed off it 80 times" in reasons[0]


def test_a_machine_that_tells_nothing_is_unknown_and_that_is_no_reason():
    verdict, reasons = judge(looks(*[Reading()] * 5), IDLE, 100, Limits())
    assert (verdict, reasons) == ("unknown", ["the system tells neither its clock nor whether it is throttled"])
    assert invalidates(state(verdict, reasons)) == []


@pytest.mark.parametrize(
    ("seen", "usage", "words"),
    [
        ([], IDLE, "the device was not watched"),
        (looks(GOOD, GOOD), IDLE, "the device was not watched to the end"),
        (looks(*[GOOD] * 5), dataclasses.replace(IDLE, busy_ticks=None), "what other processes did"),
    ],
)
def test_what_was_not_seen_is_unknown(seen, usage, words):
    verdict, reasons = judge(seen, usage, 100, Limits())
    assert verdict == "unknown"
    assert any(words in reason for reason in reasons)


def state(verdict, reasons):
    return DeviceState({}, None, [], [], None, None, verdict, reasons)


@pytest.mark.parametrize("verdict", ["throttled", "busy"])
def test_throttled_and_busy_make_a_measurement_invalid(verdict):
    assert invalidates(state(verdict, ["why"])) == ["why"]


def test_throttling_is_what_a_sustained_measurement_is_for():
    assert invalidates(state("throttled", ["hot"]), sustained=True) == []
    assert invalidates(state("busy", ["others"]), sustained=True) == ["others"]


RANK = ("clean", "unknown", "busy", "throttled")
readings = st.builds(
    Reading,
    frequencies_khz=st.dictionaries(st.sampled_from(["policy0", "policy4"]), st.integers(1, 5_000_000)),
    reference_khz=st.dictionaries(st.sampled_from(["policy0", "policy4"]), st.integers(1, 5_000_000)),
    governors=st.dictionaries(st.just("policy0"), st.sampled_from(["ondemand", "powersave", "performance"])),
    temperatures_celsius=st.dictionaries(st.sampled_from(["cpu", "gpu"]), st.floats(-39, 149)),
    trips_celsius=st.dictionaries(st.sampled_from(["cpu", "gpu"]), st.floats(40, 120)),
    throttled=st.none() | st.lists(st.sampled_from(["throttled", "under-voltage"]), max_size=2),
    power_mode=st.none() | st.sampled_from(["MAXN", "battery saver"]),
)
usages = st.builds(
    Usage,
    wall_ns=st.integers(1, 100 * SECOND),
    cpu_ns=st.integers(0, 400 * SECOND),
    involuntary_switches=st.integers(0, 10_000),
    busy_ticks=st.none() | st.integers(0, 10_000),
    all_ticks=st.none() | st.integers(0, 10_000),
    end_ns=st.integers(100 * SECOND, 200 * SECOND),
)
sequences = st.lists(st.tuples(st.integers(0, 300), readings), max_size=6).map(
    lambda pairs: [Look(at * SECOND, reading) for at, reading in sorted(pairs, key=lambda pair: pair[0])]
)


@given(sequences, usages, st.integers(1, 1000))
def test_there_is_always_a_verdict_and_clean_alone_has_no_reason(seen, usage, inferences):
    verdict, reasons = judge(seen, usage, inferences, Limits())
    assert verdict in RANK
    assert (verdict == "clean") == (reasons == [])


@given(sequences, usages, st.integers(1, 1000), st.sampled_from(["throttled", "under-voltage"]))
def test_a_throttle_flag_in_the_span_is_throttling_whatever_else_is_so(seen, usage, inferences, word):
    hit = Look(usage.end_ns, Reading(throttled=[word]))
    assert judge(sorted([*seen, hit], key=lambda look: look.at_ns), usage, inferences, Limits())[0] == "throttled"


@given(sequences, usages, st.integers(1, 1000), st.floats(0, 1), st.floats(0, 1))
def test_stricter_limits_never_give_a_better_verdict(seen, usage, inferences, one, other):
    strict, lax = sorted((one, other))
    first = judge(seen, usage, inferences, Limits(strict, strict))[0]
    second = judge(seen, usage, inferences, Limits(lax, lax))[0]
    assert RANK.index(first) >= RANK.index(second)


@given(sequences, usages)
def test_fewer_switches_and_less_of_others_never_make_it_busier(seen, usage):
    calm = dataclasses.replace(usage, involuntary_switches=0, busy_ticks=None if usage.busy_ticks is None else 0)
    better, worse = (judge(seen, each, 100, Limits())[0] for each in (calm, usage))
    assert RANK.index(better) <= RANK.index(worse)
