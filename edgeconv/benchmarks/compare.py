"""Two run records side by side: what got slower, larger or less exact, what vanished, and what one cannot tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from edgeconv.benchmarks.ratios import Ratio, exact_ratio, mean_ratio, quantile_ratio, samples_by_round
from edgeconv.errors import RecordError, UsageError
from edgeconv.parity.verdict import judge_result
from edgeconv.records import Memory, Result, RunRecord

__all__ = ["DEFAULT_EVENTS", "EVENTS", "Comparison", "ComparisonRow", "compare_runs"]

EVENTS = ("slower", "missing", "failing", "invalid", "drift", "memory")
DEFAULT_EVENTS = ("slower", "missing", "failing", "invalid")

_MIN_EFFECT = 0.05
_MIN_EFFECT_VIRTUAL = 0.01  # a virtual clock repeats to 0.05 %
_P90_FACTOR = 2  # a tail scatters more from run to run than a median does
_MIN_P90_SAMPLES = 44  # fewer do not bound a p90 at 99 %
_MEMORY_FACTOR, _MEMORY_BYTES = 1.10, 2_000_000  # beyond both: page and allocator noise is below
_DRIFT_DB, _METRIC_DROP = 0.5, 0.005


@dataclasses.dataclass(frozen=True)
class ComparisonRow:
    """One artefact in both runs.

    `verdict`: "faster", "slower", "same", "can't tell", "missing", "new", "invalid" (in the candidate) or "no baseline"
    (invalid in the base).  Ratios are candidate / base, None where not measured.  `memory_ratio` is that of the peak
    above the baseline.  `drift_db` is how many dB of SQNR against PyTorch were lost (negative: won), `metric_drop` how
    much of the task metric.  `events` are those of `EVENTS` that happened, `notes` says what else differs.
    """

    runtime: str
    precision: str
    mode: str
    verdict: str
    median: Ratio | None
    p90: Ratio | None
    memory_ratio: float | None
    drift_db: float | None
    metric_drop: float | None
    events: list[str]
    notes: list[str]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All artefacts of either record; `notes` says what differs between the runs as wholes."""

    model: str
    base: str
    candidate: str
    min_effect: float
    rows: list[ComparisonRow]
    notes: list[str]

    def events(self, among: Sequence[str] = DEFAULT_EVENTS) -> list[str]:
        """What happened, one line for each event of `among`."""
        found = [(row, event) for row in self.rows for event in row.events if event in among]
        return [f"{row.runtime} {row.precision}: {event}" for row, event in found]

    @property
    def worse(self) -> bool:
        """Whether an artefact got slower, vanished, or newly fails or is newly invalid."""
        return bool(self.events())


def compare_runs(
    base: RunRecord, candidate: RunRecord, *, min_effect: float | None = None, across_devices: bool = False
) -> Comparison:
    """Compare two runs of the same model, artefact by artefact.

    A latency is "slower" when the 99 % interval of the ratio of its median lies above 1 and the ratio itself at
    1 + `min_effect` or more, or that of its p90 at twice the effect; "same" when the interval of the median excludes
    such a difference; else one "can't tell".  Of a virtual clock, which repeats to 0.05 %, the bare ratio counts.

    Args:
        base: the baseline.
        candidate: what is judged.
        min_effect: differences below this fraction do not count; 0.05, for a virtual clock 0.01.
        across_devices: compare runs of different devices too.

    Raises:
        RecordError: the runs are of different models, clocks or devices, or only one is emulated.
        UsageError: `min_effect` is not between 0 and 1.
    """
    _check_comparable(base, candidate, across_devices)
    virtual = base.host.clock == "virtual"
    if min_effect is None:
        min_effect = _MIN_EFFECT_VIRTUAL if virtual else _MIN_EFFECT
    if not 0 < min_effect < 1:
        raise UsageError(f"The minimum effect is {min_effect}.", "Give a fraction between 0 and 1, like 0.05.")
    before, after = _by_artifact(base), _by_artifact(candidate)
    compared = _Pairs(base, candidate, min_effect, virtual)
    rows = [compared.row(key, before.get(key), after.get(key)) for key in dict.fromkeys([*before, *after])]
    return Comparison(base.model, base.run_id, candidate.run_id, min_effect, rows, _differences(base, candidate))


_Key = tuple[str, str, str, int]


class _Pairs:
    """Judges the artefacts of two runs pair by pair."""

    def __init__(self, base: RunRecord, candidate: RunRecord, min_effect: float, virtual: bool) -> None:
        self._base, self._candidate = base, candidate
        self._min_effect, self._virtual = min_effect, virtual

    def row(self, key: _Key, before: Result | None, after: Result | None) -> ComparisonRow:
        runtime, precision, mode, _ = key

        def without(verdict: str, events: list[str], notes: list[str]) -> ComparisonRow:
            return ComparisonRow(runtime, precision, mode, verdict, None, None, None, None, None, events, notes)

        if after is None:
            failed = [f.reason for f in self._candidate.failures if (f.runtime, f.precision) == (runtime, precision)]
            return without("missing", ["missing"], [f"could not be made: {reason}" for reason in failed])
        if before is None:
            return without("new", [], [])
        memory, drift, drop = (
            _memory_ratio(before.memory, after.memory),
            _drift_loss(before, after),
            _drop(before, after),
        )
        events = ["failing"] if _newly_failing(before, after) else []
        notes = _row_notes(before, after)
        median = p90 = None
        if not after.valid:
            verdict = "invalid"
            events += ["invalid"] if before.valid else []
            notes += after.invalid_reasons
        elif not before.valid:
            verdict = "no baseline"
            notes += before.invalid_reasons
        else:
            median, p90 = self._ratio(before, after, 0.5), self._ratio(before, after, 0.9)
            verdict = self._verdict(median, p90)
            events += ["slower"] if verdict == "slower" else []
        if (drift is not None and drift > _DRIFT_DB) or (drop is not None and drop > _METRIC_DROP):
            events.append("drift")
        if memory is not None and memory > _MEMORY_FACTOR and _grown(before.memory, after.memory) > _MEMORY_BYTES:
            events.append("memory")
        return ComparisonRow(runtime, precision, mode, verdict, median, p90, memory, drift, drop, events, notes)

    def _ratio(self, before: Result, after: Result, quantile: float) -> Ratio | None:
        if quantile == 0.5 and (summaries := [r.latency_ns.summary for r in (before, after)]) and all(summaries):
            return mean_ratio(*((s.mean_ns, s.std_ns, s.count) for s in summaries if s is not None))
        one, two = samples_by_round(before.latency_ns), samples_by_round(after.latency_ns)
        needed = _MIN_P90_SAMPLES if quantile > 0.5 else 1
        if min(sum(map(len, rounds)) for rounds in (one, two)) < needed:
            return None
        return (exact_ratio if self._virtual else quantile_ratio)(one, two, quantile)

    def _verdict(self, median: Ratio | None, p90: Ratio | None) -> str:
        if p90 is not None and p90.beyond(_P90_FACTOR * self._min_effect):
            return "slower"
        if median is None:
            return "can't tell"
        if median.beyond(self._min_effect):
            return "slower"
        if median.below(self._min_effect):
            return "faster"
        return "same" if median.within(self._min_effect) else "can't tell"


def _check_comparable(base: RunRecord, candidate: RunRecord, across_devices: bool) -> None:
    if base.model != candidate.model:
        raise RecordError(
            f"The runs are of different models: {base.model} and {candidate.model}.", "Compare runs of one model."
        )
    for record, other in ((base, candidate), (candidate, base)):
        if record.host.emulated and not other.host.emulated:
            raise RecordError(
                f"Run {record.run_id} is emulated and run {other.run_id} is not; their latencies cannot be compared.",
                "Compare emulated runs with emulated ones, and boards with boards.",
            )
    if base.host.clock != candidate.host.clock:
        raise RecordError(
            f"Run {base.run_id} has a {base.host.clock} clock, run {candidate.run_id} a {candidate.host.clock} one; "
            "their latencies cannot be compared."
        )
    differing = [
        f"{what} {one or 'unknown'} and {two or 'unknown'}"
        for what, one, two in (
            ("device", base.device, candidate.device),
            ("machine", base.host.machine, candidate.host.machine),
            ("board", base.host.board, candidate.host.board),
            ("processor", base.host.cpu_model, candidate.host.cpu_model),
        )
        if one != two
    ]
    if differing and not across_devices:
        raise RecordError(
            f"The runs are of different devices: {', '.join(differing)}.",
            "A difference would be the device's; to see it all the same, use --across-devices.",
        )


def _by_artifact(record: RunRecord) -> dict[_Key, Result]:
    """Results by runtime, precision and mode, numbered where a run measured one of them more than once."""
    found: dict[_Key, Result] = {}
    for result in record.results:
        number = sum(key[:3] == (result.runtime, result.precision, result.mode) for key in found)
        found[result.runtime, result.precision, result.mode, number] = result
    return found


def _differences(base: RunRecord, candidate: RunRecord) -> list[str]:
    pairs: list[tuple[str, object, object]] = [
        ("device", base.device, candidate.device),
        ("processor", base.host.cpu_model, candidate.host.cpu_model),
        ("weights", _short(base.model_sha256), _short(candidate.model_sha256)),
        ("governor", base.host.governor, candidate.host.governor),
        ("edgeconv", base.edgeconv_version, candidate.edgeconv_version),
    ]
    notes = [f"{what}: {one or 'unknown'}, now {two or 'unknown'}" for what, one, two in pairs if one != two]
    if base.settings and candidate.settings:
        settings = {
            n: (base.settings.get(n), candidate.settings.get(n)) for n in {**base.settings, **candidate.settings}
        }
        notes += [f"latency protocol, {name}: {one}, now {two}" for name, (one, two) in settings.items() if one != two]
    tools = {name for name in {*base.tools, *candidate.tools} if base.tools.get(name) != candidate.tools.get(name)}
    if base.tools and candidate.tools:
        notes += [f"{t}: {base.tools.get(t, 'none')}, now {candidate.tools.get(t, 'none')}" for t in sorted(tools)]
    return notes


def _short(digest: str | None) -> str | None:
    return digest and digest[:12]


def _row_notes(before: Result, after: Result) -> list[str]:
    pairs: list[tuple[str, object, object]] = [
        ("threads", before.threads, after.threads),
        ("options", before.options, after.options),
        ("provider", before.provider, after.provider),
        ("version", before.evidence.get("version"), after.evidence.get("version")),
    ]
    return [f"{what}: {one or 'none'}, now {two or 'none'}" for what, one, two in pairs if one != two]


def _newly_failing(before: Result, after: Result) -> bool:
    return _parity_holds(before) and not _parity_holds(after)


def _parity_holds(result: Result) -> bool:
    return all(finding.passed for finding in judge_result(result))


def _used(memory: Memory) -> int | None:
    if memory.peak_rss_bytes is None or memory.baseline_rss_bytes is None:
        return None
    return memory.peak_rss_bytes - memory.baseline_rss_bytes


def _memory_ratio(before: Memory, after: Memory) -> float | None:
    one, two = _used(before), _used(after)
    return two / one if one is not None and two is not None and one > 0 else None


def _grown(before: Memory, after: Memory) -> int:
    return (_used(after) or 0) - (_used(before) or 0)


def _drift_loss(before: Result, after: Result) -> float | None:
    """dB of SQNR against PyTorch that were lost; infinite where outputs were identical and no longer are."""
    if before.drift is None or after.drift is None:
        return None
    one, two = (
        math.inf if r.drift is None or r.drift.total.sqnr_db is None else r.drift.total.sqnr_db for r in (before, after)
    )
    return 0.0 if one == two else one - two


def _drop(before: Result, after: Result) -> float | None:
    """The drop of the task metric as a fraction of it."""
    if before.task is None or after.task is None or before.task.name != after.task.name:
        return None
    drop = before.task.value - after.task.value
    return drop / abs(before.task.value) if before.task.value else drop
