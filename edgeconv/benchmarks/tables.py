"""Run records, verdicts and manifests as terminal tables that fit 72 columns and need no colour to be understood."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeconv.benchmarks.report.columns import Cell, Column, column, columns_of
from edgeconv.benchmarks.report.evidence import summary_line
from edgeconv.benchmarks.report.host import int8_support, warnings_of
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.report.units import decibels, megabytes, metric
from edgeconv.manifest import GATES_FACT, Failure, Manifest
from edgeconv.parity.verdict import Verdict
from edgeconv.records import RunRecord
from edgeconv.tables import plain_table
from edgeconv.wording import listed

__all__ = ["bundle_table", "run_table", "verdict_table"]

# What fits beside each other in 72 columns; the report has the other percentiles.
_SPEED = ("Latency p50", "Latency p90", "Latency p99", "Start", "Memory peak", "File")
_WITH_SPREAD = ("p50",)
_NAMED = 3  # operators in float; the report has all
_INVALID = "✗"  # before every number of an invalid result


def run_table(record: RunRecord) -> RenderableType:
    """A run: speed and memory, drift and task metric, what ran; then why a result is invalid and what is missing."""
    series = series_of(record, [record])
    cpu = f"{record.host.cpu_model or record.host.machine}, int8 dot product: {int8_support(record.host)}"
    parts: list[RenderableType] = [
        Text.assemble((record.model, "bold"), f" on {record.device}, measured on {record.target}"),
        Text(cpu, "dim"),
        *(Text(warning, "yellow") for warning in warnings_of(record)),
    ]
    if series:
        parts.append(_numbers(series, columns_of(*_SPEED)))
        if any(s.result.latency_ns.intervals for s in series):
            parts.append(Text("± is the half width of the 99 % confidence interval; latency in ms.", "dim"))
    if any(s.result.drift for s in series):
        # PyTorch's metric is the same in each row: it stands in the line below instead.
        tasks = [s.result.task for s in series if s.result.task is not None]
        parts.append(_numbers(series, columns_of("Drift") + (columns_of("Task metric")[1:] if tasks else [])))
        parts.append(Text("Drift is SQNR in dB, higher is closer; total is against PyTorch.", "dim"))
        torch = dict.fromkeys(f"Task metric: {task.name}, {metric(task.torch)} in PyTorch." for task in tasks)
        parts += [Text(line, "dim") for line in torch]
    if any(s.result.execution or s.result.state for s in series):
        parts.append(_ran(series))
        in_float = [(s.label, s.result.execution.float_macs) for s in series if s.result.execution]
        parts += [
            Text(f"{label} computes in float: {listed(names, _NAMED)}.", "dim") for label, names in in_float if names
        ]
    for s in series:
        if told := summary_line(s.result.latency_ns):
            parts.append(Text(f"{s.label}: {told}"))
        if not s.result.valid:
            reasons = s.result.invalid_reasons or ["no reason recorded"]
            apart = "\n  " if len(reasons) > 1 else " "  # several reasons: one a line
            said = apart + apart.join(reasons)
            parts.append(Text.assemble((f"{_INVALID} {s.label} is not valid:", "bold red"), said))
    return Group(*parts, *map(_not_made, record.failures))


def verdict_table(verdict: Verdict) -> RenderableType:
    """What was judged, bound by bound, and the reasons of what failed."""
    table = _table()
    table.add_column("Judged", overflow="fold")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("bound", justify="right", no_wrap=True)
    table.add_column("")
    before = ""
    for finding in verdict.findings:
        name = f"{finding.runtime} {finding.precision}"
        measured = "exact" if finding.value is None and finding.passed else _judged(finding.bound, finding.value)
        mark = Text("✓", "green") if finding.passed else Text(_INVALID, "bold red")
        what = Text(finding.bound.removesuffix(" dB"))
        bound = _judged(finding.bound, finding.limit)
        table.add_row(Text("" if name == before else name), what, measured, Text(bound, "dim"), mark)
        before = name
    count = len(verdict.findings)
    passed = Text(f"Parity holds: {count} of {count} bounds are met.", "bold green")
    failed = Text("Parity fails:", "bold red")
    lines = [Text(f"{_INVALID} {failure}", "red") for failure in verdict.failures]
    lines += [Text(f"→ {location.message}", "bold" if location.found else "") for location in verdict.breaks]
    lines += [Text(note, "dim") for note in verdict.notes]
    return Group(table, passed if verdict.passed else failed, *lines)


def bundle_table(manifest: Manifest) -> RenderableType:
    """A bundle: its files by runtime and precision, what could not be made, the rewrites."""
    model = manifest.model
    size = f"{model.parameters:,} parameters" + (f", {model.macs / 1e9:.2f} GMAC" if model.macs else "")
    parts: list[RenderableType] = [
        Text.assemble((manifest.name, "bold"), f" for {manifest.device}: {size}, {model.equivalence}"),
        _artifacts(manifest),
    ]
    for rewrite in manifest.rewrites:
        gain = f", {decibels(rewrite.sqnr_db)} dB" if rewrite.sqnr_db is not None else ""
        state = "" if rewrite.kept else ", not kept"
        parts.append(Text(f"{rewrite.name}: {rewrite.changed} changed, {rewrite.equivalence}{gain}{state}", "dim"))
    for artifact in manifest.artifacts:
        if GATES_FACT in artifact.facts:
            name = f"{artifact.runtime} {artifact.precision}: "
            parts.append(Text.assemble((name, "bold yellow"), artifact.facts[GATES_FACT]))
    return Group(*parts, *map(_not_made, manifest.failures))


def _numbers(series: Sequence[Series], columns: Sequence[Column]) -> Table:
    table = _table()
    for shown in columns:
        table.add_column(Text(f"{shown.title}\n{shown.unit}".strip()), justify="right", no_wrap=True)
    for s in series:
        marked = not s.result.valid and any(shown.of_speed for shown in columns)
        name = Text(f"{_INVALID} {s.label}" if marked else s.label, "red" if marked else "")
        cells = [
            _number(shown.read(s.result), marked and shown.of_speed, shown.title in _WITH_SPREAD) for shown in columns
        ]
        table.add_row(name, *cells)
    return table


def _ran(series: Sequence[Series]) -> Table:
    """What ran, in how many processes, and the device's state."""
    table = _table()
    for title in ("ran", "as asked\n%", "int8\nMACs %", "rounds", "state"):
        table.add_column(title, justify="left" if title in ("ran", "state") else "right", overflow="fold")
    for s in series:
        ran, state, rounds = s.result.execution, s.result.state, len(s.result.latency_ns.rounds)
        share, integers = (column(f"Ran {name}").read(s.result).text for name in ("as asked", "int8"))
        used = ran.used if ran is not None else s.result.provider or "–"
        alarm = "yellow" if state is not None and state.verdict != "clean" else ""
        verdict = Text(state.verdict if state is not None else "–", alarm)
        shares = [text or Text("–", "dim") for text in (share, integers)]
        table.add_row(Text(s.label), Text(used), *shares, str(rounds or "–"), verdict)
    return table


def _not_made(failure: Failure) -> Text:
    name = f"{_INVALID} {failure.runtime} {failure.precision} could not be made: "
    return Text.assemble((name, "bold red"), failure.reason)


def _judged(bound: str, value: float | None) -> str:
    """A value of `Finding` with its unit: decibels where the bound's name says so, else a fraction."""
    if value is None:
        return "–"
    return f"{value:.2f} dB" if bound.endswith("dB") else f"{value:.2%}"


def _number(cell: Cell, marked: bool, spread: bool) -> Text:
    if not cell.text:
        return Text("–", "dim")
    if marked:
        return Text(f"{_INVALID}{cell.text}", "dim strike")
    return Text.assemble(cell.text, (f" ±{cell.spread}" if spread and cell.spread else "", "dim"))


def _artifacts(manifest: Manifest) -> Table:
    table = _table()
    table.add_column("size\nMB", justify="right", no_wrap=True)
    table.add_column("File", overflow="fold")
    table.add_column("Facts", overflow="fold")
    for artifact in manifest.artifacts:
        facts = ", ".join(f"{term}: {text}" for term, text in artifact.facts.items() if term != GATES_FACT)
        name = Text(f"{artifact.runtime} {artifact.precision}")
        table.add_row(name, megabytes(artifact.total_bytes), Text(artifact.path), Text(facts, "dim"))
    return table


def _table() -> Table:
    table = plain_table()
    table.add_column("Artefact", overflow="fold", vertical="top")
    return table
