"""What stands behind the numbers of one artefact: what ran, in which processes, on what file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from edgeconv.benchmarks.report.host import Fact
from edgeconv.benchmarks.report.units import milliseconds
from edgeconv.bundles import Bundle
from edgeconv.records import Execution, Latency, Memory, Result, Tuning

__all__ = ["TrialRow", "evidence_of", "summary_line", "trials_of"]


def evidence_of(result: Result, bundle: Bundle | None) -> Iterator[Fact]:
    """Lines of evidence, those of the bundle's manifest and of the runtime itself last."""
    yield from _execution(result)
    yield from _samples(result)
    yield from _memory(result.memory)
    if result.drift is not None:
        total, reference = result.drift.total, result.drift.reference
        yield Fact("total drift", f"max {total.max_abs:.3g}, mean {total.mean_abs:.3g}, cosine {total.cosine:.6f}")
        if reference.sqnr_db is not None:
            yield Fact("Q/DQ reference", f"{reference.sqnr_db:.1f} dB against PyTorch")
    yield from _state(result)
    yield Fact("file", f"sha256 {result.artifact_sha256[:12]}", result.artifact_sha256)
    for artifact in bundle.manifest.artifacts if bundle else []:
        if artifact.sha256 == result.artifact_sha256:
            yield from (Fact(term, text) for term, text in artifact.facts.items())
    yield from (Fact(term, text) for term, text in result.evidence.items())


def summary_line(latency: Latency) -> str:
    """What a tool without samples says, in a sentence; empty for our own measurements."""
    told = latency.summary
    if told is None:
        return ""
    spread = milliseconds(told.std_ns, like=told.mean_ns)
    return (
        f"{told.tool}: mean {milliseconds(told.mean_ns)} ms, standard deviation {spread} ms, "
        f"{milliseconds(told.min_ns)} to {milliseconds(told.max_ns)} ms in {told.count} inferences. "
        "It keeps no samples, so there is no percentile."
    )


@dataclasses.dataclass(frozen=True)
class TrialRow:
    """A setting that tuning tried."""

    options: str
    median_ms: str
    count: int
    rung: int
    won: bool


def trials_of(tuning: Tuning) -> list[TrialRow]:
    """The last trial of each setting, those that came furthest first, the faster before the slower."""
    last = {_options(trial.options): trial for trial in sorted(tuning.trials, key=lambda trial: trial.rung)}
    ordered = sorted(last.items(), key=lambda pair: (-pair[1].rung, pair[1].median_ns))
    winner = _options(tuning.options)
    return [
        TrialRow(name, milliseconds(trial.median_ns), trial.count, trial.rung, name == winner)
        for name, trial in ordered
    ]


def _options(options: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(options.items())) or "defaults"


def _execution(result: Result) -> Iterator[Fact]:
    ran: Execution | None = result.execution
    if ran is None:
        yield Fact("provider", result.provider or "unknown")
        yield Fact("threads", str(result.threads))
        return
    yield Fact("asked for", ran.requested)
    yield Fact("ran", ran.used + ("" if ran.share is None else f", {ran.share:.1%} of the operators as asked"))
    if ran.operators:
        yield Fact("operators", ", ".join(f"{count} {name}" for name, count in ran.operators.items()))
    if ran.int8_mac_share is not None:
        in_float = f", in float: {', '.join(ran.float_macs)}" if ran.float_macs else ""
        yield Fact("int8 MACs here", f"{100 * ran.int8_mac_share:.4g} %{in_float}")
    if ran.precision is not None:
        yield Fact("computes floats in", ran.precision)
    yield Fact("threads", str(result.threads if ran.threads is None else ran.threads))


def _samples(result: Result) -> Iterator[Fact]:
    latency = result.latency_ns
    if latency.summary is None:
        processes = f" in {len(latency.rounds)} fresh processes" if len(latency.rounds) > 1 else ""
        yield Fact("samples", f"{len(latency.samples)}{processes}, after {len(latency.warmup)} of warm-up")
    if result.options:
        yield Fact("options", _options(result.options))
    if result.mode != "steady":
        yield Fact("mode", result.mode)
    if result.attempts > 1:
        yield Fact("attempts", str(result.attempts))
    if result.import_ns is not None:
        yield Fact("import", f"{result.import_ns / 1e6:.0f} ms")


def _memory(memory: Memory) -> Iterator[Fact]:
    if memory.peak_rss_bytes is not None and memory.baseline_rss_bytes is not None:
        load = f", {_mb(memory.load_peak_rss_bytes)} while loading" if memory.load_peak_rss_bytes else ""
        peak = _mb(memory.peak_rss_bytes)
        yield Fact("memory", f"{_mb(memory.baseline_rss_bytes)} before{load}, {peak} at its peak", memory.method)
    if memory.pss_bytes is not None:
        before = f", {_mb(memory.baseline_pss_bytes)} before" if memory.baseline_pss_bytes is not None else ""
        yield Fact("proportional set", f"{_mb(memory.pss_bytes)}{before}")
    if memory.mapped_model_bytes is not None:
        yield Fact("model file mapped", _mb(memory.mapped_model_bytes))


def _state(result: Result) -> Iterator[Fact]:
    state = result.state
    if state is None:
        return
    yield Fact("device state", ": ".join([state.verdict, *filter(None, ["; ".join(state.reasons)])]))
    if state.governors:
        yield Fact("governor", ", ".join(dict.fromkeys(state.governors.values())))
    if state.power_mode is not None:
        yield Fact("power mode", state.power_mode)
    if state.affinity:
        yield Fact("on cores", ", ".join(map(str, state.affinity)))
    if state.others_cpu_share is not None:
        yield Fact("other processes", f"{state.others_cpu_share:.1%} of the processor time")
    if state.energy_joules is not None and (count := len(result.latency_ns.samples)):
        each = f", {1000 * state.energy_joules / count:.2f} mJ an inference"
        yield Fact("energy", f"{state.energy_joules:.1f} J{each}")
    yield from (Fact(term, text) for term, text in state.facts.items())


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
