from __future__ import annotations

import collections
import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.percentiles import make_latency, too_few
from edgeconv.benchmarks.agent.protocol import LatencyProtocol, unsteadiness
from edgeconv.benchmarks.rounds import Round, interleaved, is_unstable, merge_rounds
from edgeconv.records import DeviceState, Memory, Result, StateSample

MS = 1_000_000
PROTOCOL = LatencyProtocol()


def state(verdict="clean", *, joules=None, others=0.0):
    reasons = [] if verdict == "clean" else [f"it was {verdict}"]
    samples = [StateSample(0.0), StateSample(1.0)]
    return DeviceState({"policy0": "performance"}, None, [0], samples, others, joules, verdict, reasons)


def result(milliseconds, *, peak=100, mode="steady", reasons=(), device=None, load=5):
    samples = [round(ms * MS) for ms in milliseconds]
    reasons = [*reasons, *filter(None, [too_few(len(samples)), unsteadiness(samples, 0.1)])]
    return Result(
        runtime="litert",
        precision="int8",
        valid=not reasons,
        invalid_reasons=reasons,
        artifact_sha256="0",
        artifact_bytes=1,
        latency_ns=make_latency(samples, [9 * MS], [len(samples)]),
        import_ns=load,
        load_ns=load,
        first_inference_ns=load,
        memory=Memory(peak, 50, "method"),
        drift=None,
        task=None,
        provider="XNNPACK",
        threads=1,
        evidence={},
        state=device,
        mode=mode,
    )


def rounds(*results):
    return [Round(one, 100.0 + 10 * index) for index, one in enumerate(results)]


def merge(*results):
    return merge_rounds(rounds(*results), dataclasses.replace(PROTOCOL, mode=results[0].mode, burst_count=4))


def test_all_samples_are_kept_in_order_with_figures_of_all():
    merged = merge(result([10] * 15), result([10.2] * 16), result([9.9] * 15))
    assert merged.valid
    assert merged.latency_ns.samples == [10 * MS] * 15 + [round(10.2 * MS)] * 16 + [round(9.9 * MS)] * 15
    assert merged.latency_ns.rounds == [15, 16, 15]
    assert merged.latency_ns.warmup == [9 * MS] * 3
    assert merged.latency_ns.p50 == 10 * MS
    assert merged.latency_ns.p90 is not None  # 46 samples; no round alone had the 44
    assert set(merged.latency_ns.intervals) == {"p50", "p90"}


def test_few_samples_in_each_round_can_be_enough_in_all():
    assert merge(result([10] * 3), result([10] * 3), result([10] * 3)).valid
    together = merge(result([10] * 2), result([10] * 2))
    assert together.invalid_reasons == ["only 4 inferences were timed, the median needs 7"]


def test_rounds_that_disagree_are_invalid_and_not_averaged_away():
    merged = merge(result([10] * 20), result([13] * 20), result([10] * 20))
    assert not merged.valid
    assert "medians of fresh processes are 10, 13, 10 ms" in merged.invalid_reasons[0]
    assert merged.latency_ns.samples.count(13 * MS) == 20


def test_one_invalid_round_makes_the_whole_invalid_and_is_named():
    merged = merge(result([10] * 20), result([10] * 20, reasons=["it was throttled", "it was hot"]), result([10] * 20))
    assert merged.invalid_reasons == ["it was throttled (round 2)", "it was hot (round 2)"]


def test_reasons_that_differ_in_numbers_alone_are_told_once():
    busy = [result([10] * 20, reasons=[f"others had {share}% of it"]) for share in (31, 45.5, 60)]
    assert merge(*busy).invalid_reasons == ["others had 31% of it (round 1; likewise 2, 3)"]


def test_a_round_without_samples_is_the_result():
    failed = dataclasses.replace(result([]), invalid_reasons=["it does not load"])
    assert merge(result([10] * 20), failed).invalid_reasons == ["it does not load"]


def test_start_times_are_medians_and_memory_that_of_the_highest_peak():
    merged = merge(result([10] * 9, load=5), result([10] * 9, load=50, peak=120), result([10] * 9, load=7))
    assert (merged.import_ns, merged.load_ns, merged.first_inference_ns) == (7, 7, 7)
    assert merged.memory.peak_rss_bytes == 120


def test_bursts_are_counted_over_all_rounds():
    waking = result([30, 10, 10, 10] * 5, mode="burst")
    assert merge(waking, waking).evidence["bursts"].startswith("10 of 4 inferences")


def test_a_sustained_run_may_change():
    merged = merge(result([10] * 20, mode="sustained"), result([15] * 20, mode="sustained"))
    assert merged.valid


def test_states_are_put_in_a_row_and_the_worst_verdict_counts():
    states = [state(joules=2.0, others=0.1), state("throttled", joules=3.0, others=0.3), state(joules=1.0)]
    merged = merge(*(result([10] * 20, device=one) for one in states)).state
    assert [sample.at_seconds for sample in merged.samples] == [0, 1, 10, 11, 20, 21]
    assert (merged.verdict, merged.reasons) == ("throttled", ["it was throttled"])
    assert merged.energy_joules == pytest.approx(6.0)
    assert merged.others_cpu_share == 0.3


def test_energy_is_unknown_when_one_round_does_not_know_it():
    states = [state(joules=2.0), state()]
    assert merge(*(result([10] * 20, device=one) for one in states)).state.energy_joules is None


@pytest.mark.parametrize(
    "restless",
    [
        [result([10] * 20), result([13] * 20)],
        [result([10] * 10 + [20] * 20), result([10] * 10 + [20] * 20)],
        [result([10] * 20), result([10] * 20, device=state("busy"))],
        [result([10] * 20, device=state("throttled")), result([10] * 20)],
    ],
)
def test_what_the_machine_did_is_worth_another_attempt(restless):
    assert is_unstable(rounds(*restless), PROTOCOL)


@pytest.mark.parametrize(
    "hopeless",
    [
        [result([10] * 20), result([10] * 20)],
        [result([10] * 20, reasons=["XNNPACK was asked for and built-in kernels ran"])] * 2,
        [result([])],
        [result([10] * 20, device=state("unknown"))],
    ],
)
def test_what_the_artefact_is_will_not_change(hopeless):
    assert not is_unstable(rounds(*hopeless), PROTOCOL)


def test_a_sustained_run_is_not_repeated():
    hot = [result([10] * 20 + [30] * 20, mode="sustained", device=state("throttled"))]
    assert not is_unstable(rounds(*hot), LatencyProtocol(mode="sustained"))


@given(st.integers(1, 9), st.integers(0, 20))
def test_a_round_has_every_artefact_once(count, number):
    assert sorted(interleaved(range(count), number)) == list(range(count))


@given(st.integers(2, 12))
def test_no_artefact_is_first_or_last_in_all_of_three_rounds(count):
    orders = [interleaved(range(count), number) for number in range(3)]
    assert len({order[0] for order in orders}) > 1
    assert len({order[-1] for order in orders}) > 1


def test_seven_artefacts_change_places_and_predecessors_in_three_rounds():
    orders = [interleaved("abcdefg", number) for number in range(3)]
    assert len({order[0] for order in orders}) == len({order[-1] for order in orders}) == 3
    pairs = collections.Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert max(pairs.values()) == 2
