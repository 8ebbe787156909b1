from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.manifest import PRECISIONS, Tolerance
from edgeconv.parity.tolerance import default_tolerances, override_tolerances
from edgeconv.parity.verdict import check_parity
from edgeconv.records import (
    METRIC_EVIDENCE,
    Drift,
    DriftPart,
    Execution,
    Host,
    Latency,
    Memory,
    Result,
    RunRecord,
    TaskMetric,
)
from edgeconv.schema import to_json

IDENTICAL = DriftPart(0.0, 0.0, None, 1.0)
HOST = Host("x86_64", "Linux", None, [], 1, None, None, "3.11", False, "wall")


def part(sqnr_db):
    return DriftPart(0.1, 0.01, sqnr_db, 0.999)


def result(precision="int8", *, export=120.0, runtime=60.0, total=31.0, reference=31.0, task=None, **changes):
    drift = Drift(part(export), part(31.0), part(runtime), part(total), part(reference))
    made = Result(
        runtime="litert",
        precision=precision,
        valid=True,
        invalid_reasons=[],
        artifact_sha256="0",
        artifact_bytes=1,
        latency_ns=Latency([1], None, None, None, []),
        import_ns=1,
        load_ns=1,
        first_inference_ns=1,
        memory=Memory(None, None, ""),
        drift=drift,
        task=task,
        provider="XNNPACK",
        threads=1,
        evidence={},
    )
    return dataclasses.replace(made, **changes)


def record(*results):
    return RunRecord(1, "r", "t", "0", "local:", "b", "0", "m", "host", HOST, list(results))


def bounds(verdict):
    return {f.bound: f for f in verdict.findings}


def test_an_int8_result_within_its_bounds_passes():
    verdict = check_parity(record(result(task=TaskMetric("dice", 0.8, 0.795))))
    assert verdict.passed
    assert verdict.failures == []
    assert set(bounds(verdict)) == {"export SQNR dB", "total SQNR dB", "loss to reference dB", "dice drop"}


@pytest.mark.parametrize(
    ("precision", "changes", "bound"),
    [
        ("fp32", {"export": 89.9, "runtime": 100.0, "total": 89.0}, "export SQNR dB"),
        ("fp32", {"runtime": 79.9, "total": 90.0}, "runtime SQNR dB"),
        ("fp32", {"runtime": 90.0, "total": 79.9}, "total SQNR dB"),
        ("fp16", {"runtime": 49.9, "total": 49.9}, "runtime SQNR dB"),
        ("int8", {"export": 80.0}, "export SQNR dB"),
        ("int8", {"total": 27.9, "reference": 27.9}, "total SQNR dB"),
        ("int8", {"total": 30.69, "reference": 31.0}, "loss to reference dB"),
        ("int8", {"task": TaskMetric("dice", 0.8, 0.7919)}, "dice drop"),
    ],
)
def test_the_bound_that_is_broken_fails_alone_and_is_told_in_words(precision, changes, bound):
    verdict = check_parity(record(result(precision, **changes)))
    assert not verdict.passed
    assert [f.bound for f in verdict.findings if not f.passed] == [bound]
    (failure,) = verdict.failures
    assert failure.startswith(f"litert {precision}: ")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_limit_itself_passes(precision):
    limits = {"fp32": (90, 80, 80), "fp16": (90, 50, 40), "int8": (90, 5, 28)}
    export, runtime, total = limits[precision]
    reference = total if precision == "int8" else 120
    made = result(precision, export=export, runtime=runtime, total=total, reference=reference)
    assert check_parity(record(made)).passed


def test_being_closer_to_pytorch_than_the_reference_is_reported_and_no_failure():
    verdict = check_parity(record(result(total=33.0, reference=31.0)))
    assert verdict.passed
    assert bounds(verdict)["loss to reference dB"].value == -2.0


def test_a_metric_that_rises_is_no_drop():
    verdict = check_parity(record(result(task=TaskMetric("psnr", 28.0, 28.5))))
    assert verdict.passed
    assert bounds(verdict)["psnr drop"].value < 0


def test_a_metric_of_zero_is_compared_absolutely():
    assert check_parity(record(result(task=TaskMetric("top1", 0.0, 0.0)))).passed


def test_a_metric_that_was_asked_for_and_not_taken_is_a_failure():
    made = result(evidence={METRIC_EVIDENCE: "The metric m.py:f gave nan, expected a finite number."})
    verdict = check_parity(record(made), metric="m.py:f")
    assert verdict.failures == [
        "litert int8: the task metric m.py:f was not taken: The metric m.py:f gave nan, expected a finite number."
    ]
    assert verdict.notes == []
    unasked = check_parity(record(made))
    assert unasked.passed
    assert "was not taken" in unasked.notes[0]
    unjudged = override_tolerances((), ["int8.max_metric_drop=none"])
    assert check_parity(record(made), unjudged, metric="m.py:f").passed
    assert check_parity(record(result(task=TaskMetric("m.py:f", 0.8, 0.8))), metric="m.py:f").passed


def test_identical_outputs_pass_without_a_number():
    made = result("fp32")
    made = dataclasses.replace(made, drift=dataclasses.replace(made.drift, runtime=IDENTICAL, total=IDENTICAL))
    verdict = check_parity(record(made))
    assert verdict.passed
    assert bounds(verdict)["runtime SQNR dB"].value is None


def test_a_reference_identical_to_pytorch_makes_any_loss_a_failure():
    made = result()
    made = dataclasses.replace(made, drift=dataclasses.replace(made.drift, reference=IDENTICAL))
    finding = bounds(check_parity(record(made)))["loss to reference dB"]
    assert not finding.passed
    assert finding.value is None
    json.loads(to_json(check_parity(record(made))))


@pytest.mark.parametrize(("total", "passed"), [(152.4, True), (80.0, True), (79.9, False)])
def test_a_loss_that_is_the_order_of_sums_is_none(total, passed):
    finding = bounds(check_parity(record(result(total=total, reference=154.1))))["loss to reference dB"]
    assert finding.passed is passed


def test_a_latency_that_is_not_valid_is_no_failure_of_parity():
    assert check_parity(record(result(valid=False, invalid_reasons=["latency is not steady"]))).passed


def test_missing_outputs_are_a_failure_with_their_reason():
    verdict = check_parity(record(result(), result(drift=None, valid=False, invalid_reasons=["killed by signal 11"])))
    assert not verdict.passed
    assert verdict.failures == ["litert int8: no outputs to judge: killed by signal 11."]


def test_an_empty_record_fails():
    verdict = check_parity(record())
    assert not verdict.passed
    assert "nothing was measured" in verdict.failures[0]


def test_a_precision_without_a_tolerance_fails():
    assert check_parity(record(result("fp8"))).failures == ["litert fp8: no tolerance class is defined for fp8."]


def test_a_bundles_own_tolerance_takes_the_place_of_the_default():
    strict = Tolerance("int8", None, None, 35.0, None, None)
    verdict = check_parity(record(result()), [strict])
    assert set(bounds(verdict)) == {"total SQNR dB"}
    assert not verdict.passed
    assert check_parity(record(result("fp32", total=100.0, runtime=100.0)), [strict]).passed


def test_less_int8_than_asked_for_fails_and_names_the_operators():
    asked = override_tolerances((), ["int8.min_int8_share=0.9"])
    ran = Execution("CPU f32", "CPU f32", int8_mac_share=0.6, float_macs=["encoder.0/Conv", "head/Conv"])
    told = dataclasses.replace(result(), execution=ran)
    words = "litert int8: 60.00% of the multiply-accumulates in int8; needed 90.00% or more."
    assert check_parity(record(told), asked).failures == [f"{words} In float: encoder.0/Conv, head/Conv."]
    assert check_parity(record(told)).passed
    enough = dataclasses.replace(ran, int8_mac_share=0.9)
    assert bounds(check_parity(record(dataclasses.replace(told, execution=enough)), asked))["int8 MACs"]


@pytest.mark.parametrize("ran", [None, Execution("XNNPACK", "unknown")])
def test_a_share_that_nobody_can_tell_is_not_judged(ran):
    asked = override_tolerances((), ["int8.min_int8_share=0.9"])
    assert "int8 MACs" not in bounds(check_parity(record(dataclasses.replace(result(), execution=ran)), asked))


@given(st.floats(0, 200), st.floats(0, 200), st.floats(0, 200))
def test_a_verdict_passes_exactly_when_all_of_its_findings_do(export, total, reference):
    verdict = check_parity(record(result(export=export, total=total, reference=reference)))
    assert verdict.passed == all(f.passed for f in verdict.findings)
    assert len(verdict.failures) == sum(not f.passed for f in verdict.findings)
    assert verdict.passed == (export >= 90 and total >= 28 and (reference - total <= 0.3 or total >= 80))


def test_there_is_a_default_tolerance_for_each_precision():
    assert [t.precision for t in default_tolerances()] == list(PRECISIONS)
