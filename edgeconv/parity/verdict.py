"""Judging a run record by the tolerance class of each precision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from edgeconv.manifest import Tolerance
from edgeconv.parity.location import Location
from edgeconv.parity.tolerance import FLOAT_MIN_SQNR_DB, default_tolerances, override_tolerances
from edgeconv.records import METRIC_EVIDENCE, OUTPUT_EVIDENCE, DriftPart, Result, RunRecord

__all__ = ["Finding", "Verdict", "check_parity", "judge_result"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One bound of one artefact.

    `value` is in the unit that `bound` names and None where there is no number: the outputs are identical (passed), or
    nothing was measured (not passed).
    """

    runtime: str
    precision: str
    bound: str
    value: float | None
    limit: float | None
    passed: bool
    message: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All findings; `failures` are the messages of those that did not pass.

    `notes` are no failures of parity: artefacts that the export could not make, latencies that are not valid, a task
    metric that was not taken.  `breaks` says where the failing artefacts first break, as far as that was looked for.
    """

    passed: bool
    findings: list[Finding]
    failures: list[str]
    notes: list[str] = dataclasses.field(default_factory=list)
    breaks: list[Location] = dataclasses.field(default_factory=list)


def check_parity(
    record: RunRecord, tolerances: Sequence[Tolerance] | None = None, metric: str | None = None
) -> Verdict:
    """Judge every artefact of a run; a latency that is not valid is no failure of parity, missing outputs are.

    Args:
        record: the run.
        tolerances: one for each precision (a bundle's manifest has them); the defaults where there is none.
        metric: task metric that was asked for: where it was not taken, that is a failure.
    """
    classes = {tolerance.precision: tolerance for tolerance in override_tolerances(tolerances or (), ())}
    findings = [finding for r in record.results for finding in judge_result(r, classes.get(r.precision), metric)]
    failures = [finding.message for finding in findings if not finding.passed]
    if not record.results:
        failures.append("The run has no result: nothing was measured, so nothing can be judged.")
    return Verdict(not failures, findings, failures, list(_notes(record, metric)))


def judge_result(result: Result, tolerance: Tolerance | None = None, metric: str | None = None) -> list[Finding]:
    """The findings of one artefact, by `tolerance` or the default class of its precision.

    `metric` is the task metric that was asked for, as for `check_parity`.
    """
    if tolerance is None:
        tolerance = next((t for t in default_tolerances() if t.precision == result.precision), None)
    return list(_judge(result, tolerance, metric))


def _notes(record: RunRecord, metric: str | None) -> Iterator[str]:
    for failure in record.failures:
        yield f"{failure.runtime} {failure.precision} could not be made: {failure.reason}."
    for result in record.results:
        if METRIC_EVIDENCE in result.evidence and metric is None:
            told = result.evidence[METRIC_EVIDENCE]
            yield f"{result.runtime} {result.precision}: the task metric was not taken: {told}"
        if not result.valid and result.drift is not None:
            reasons = "; ".join(result.invalid_reasons) or "no reason was recorded"
            name = f"{result.runtime} {result.precision}"
            yield f"{name}: its latency is not valid, which is no failure of parity: {reasons}."


def _judge(result: Result, tolerance: Tolerance | None, metric: str | None) -> Iterator[Finding]:
    where = f"{result.runtime} {result.precision}"

    def finding(bound: str, value: float | None, limit: float | None, passed: bool, message: str) -> Finding:
        return Finding(result.runtime, result.precision, bound, value, limit, passed, f"{where}: {message}")

    if result.drift is None:
        reasons = "; ".join(result.invalid_reasons) or "no reason was recorded"
        yield finding("outputs", None, None, False, f"no outputs to judge: {reasons}.")
        return
    if tolerance is None:
        yield finding("tolerance", None, None, False, f"no tolerance class is defined for {result.precision}.")
        return
    for name, part, limit in (
        ("export", result.drift.export, tolerance.export_min_sqnr_db),
        ("runtime", result.drift.runtime, tolerance.runtime_min_sqnr_db),
        ("total", result.drift.total, tolerance.total_min_sqnr_db),
    ):
        if limit is not None:
            yield _sqnr(finding, name, part, limit, result.evidence.get(f"{OUTPUT_EVIDENCE} {name}"))
    if tolerance.total_max_loss_to_reference_db is not None:
        yield _loss(finding, result.drift.reference, result.drift.total, tolerance.total_max_loss_to_reference_db)
    if result.task is not None and tolerance.max_metric_drop is not None:
        name, torch, value = result.task.name, result.task.torch, result.task.value
        drop = (torch - value) / abs(torch) if torch else torch - value
        passed = drop <= tolerance.max_metric_drop
        words = f"{name} {value:.4f} against PyTorch's {torch:.4f}, a drop of {drop:.2%}"
        yield finding(
            f"{name} drop",
            drop,
            tolerance.max_metric_drop,
            passed,
            f"{words}; allowed {tolerance.max_metric_drop:.2%}.",
        )
    elif metric is not None and tolerance.max_metric_drop is not None:
        told = result.evidence.get(METRIC_EVIDENCE, "the golden cases have no targets.")
        words = f"the task metric {metric} was not taken: {told}"
        yield finding(f"{metric} drop", None, tolerance.max_metric_drop, False, words)
    ran, least = result.execution, tolerance.min_int8_share
    if ran is not None and ran.int8_mac_share is not None and least is not None:
        passed = ran.int8_mac_share >= least
        in_float = f" In float: {', '.join(ran.float_macs)}." if ran.float_macs else ""
        words = f"{ran.int8_mac_share:.2%} of the multiply-accumulates in int8; needed {least:.2%} or more.{in_float}"
        yield finding("int8 MACs", ran.int8_mac_share, least, passed, words)


_Make = Callable[[str, float | None, float | None, bool, str], Finding]


def _sqnr(finding: _Make, name: str, part: DriftPart, limit: float, output: str | None) -> Finding:
    """`output` is the one that `part` is of, where there are several."""
    passed = _db(part) >= limit
    place = "" if output is None else f" of output {output!r}"
    words = f"{name} SQNR {_words(part)}{place}; needed {limit:.1f} dB or more."
    return finding(f"{name} SQNR dB", part.sqnr_db, limit, passed, words)


def _loss(finding: _Make, reference: DriftPart, total: DriftPart, limit: float) -> Finding:
    """The two-sided difference is reported; being closer to PyTorch than the reference is no failure.

    Nor is it a loss where both only differ in the order of sums, as float graphs do.
    """
    words = f"SQNR against PyTorch {_words(total)}, the Q/DQ reference's {_words(reference)}"
    if total.sqnr_db is None:
        return finding("loss to reference dB", None, limit, True, f"{words}.")
    loss = _db(reference) - total.sqnr_db
    value = loss if math.isfinite(loss) else None
    passed = loss <= limit or total.sqnr_db >= FLOAT_MIN_SQNR_DB
    return finding("loss to reference dB", value, limit, passed, f"{words}; allowed loss {limit:.1f} dB.")


def _db(part: DriftPart) -> float:
    return math.inf if part.sqnr_db is None else part.sqnr_db


def _words(part: DriftPart) -> str:
    return "of identical outputs" if part.sqnr_db is None else f"{part.sqnr_db:.2f} dB"
