"""Run records, verdicts and manifests as terminal tables that fit 72 columns and need no colour to be understood."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeconv.benchmarks.report.columns import Column, columns_of
from edgeconv.benchmarks.report.host import int8_support, warnings_of
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.report.units import decibels, megabytes, metric
from edgeconv.manifest import Manifest
from edgeconv.parity.verdict import Verdict
from edgeconv.records import RunRecord

__all__ = ["bundle_table", "run_table", "verdict_table"]

_INVALID = "✗"  # before every number of an invalid result


def run_table(record: RunRecord) -> RenderableType:
    """A run: speed and memory, drift and task metric, then why a result is invalid."""
    series = series_of(record, sorted({result.runtime for result in record.results}))
    cpu = f"{record.host.cpu_model or record.host.machine}, int8 dot product: {int8_support(record.host)}"
    parts: list[RenderableType] = [
        Text.assemble((record.model, "bold"), f" on {record.device}, measured on {record.target}"),
        Text(cpu, "dim"),
        *(Text(warning, "yellow") for warning in warnings_of(record)),
    ]
    if series:
        parts.append(_numbers(series, columns_of("Latency", "Start", "Memory", "File")))
    if any(s.result.drift for s in series):
        # PyTorch's metric is the same in each row: it stands in the line below instead.
        tasks = [s.result.task for s in series if s.result.task is not None]
        parts.append(_numbers(series, columns_of("Drift") + (columns_of("Task metric")[1:] if tasks else [])))
        parts.append(Text("Drift is SQNR in dB, higher is closer; total is against PyTorch.", "dim"))
        torch = dict.fromkeys(f"Task metric: {task.name}, {metric(task.torch)} in PyTorch." for task in tasks)
        parts += [Text(line, "dim") for line in torch]
    for s in series:
        if not s.result.valid:
            reasons = "; ".join(s.result.invalid_reasons) or "no reason recorded"
            parts.append(Text.assemble((f"{_INVALID} {s.label} is not valid: ", "bold red"), reasons))
    return Group(*parts)


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
    lines = (Text(f"{_INVALID} {failure}", "red") for failure in verdict.failures)
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
    for failure in manifest.failures:
        name = f"{_INVALID} {failure.runtime} {failure.precision} could not be made: "
        parts.append(Text.assemble((name, "bold red"), failure.reason))
    return Group(*parts)


def _numbers(series: Sequence[Series], columns: Sequence[Column]) -> Table:
    table = _table()
    for column in columns:
        table.add_column(Text(f"{column.title}\n{column.unit}".strip()), justify="right", no_wrap=True)
    for s in series:
        marked = not s.result.valid
        name = Text(f"{_INVALID} {s.label}" if marked else s.label, "red" if marked else "")
        table.add_row(name, *(_number(column.read(s.result).text, marked and column.measured) for column in columns))
    return table


def _judged(bound: str, value: float | None) -> str:
    """A value of `Finding` with its unit: decibels where the bound's name says so, else a fraction."""
    if value is None:
        return "–"
    return f"{value:.2f} dB" if bound.endswith("dB") else f"{value:.2%}"


def _number(text: str, marked: bool) -> Text:
    if not text:
        return Text("–", "dim")
    return Text(f"{_INVALID}{text}", "dim strike") if marked else Text(text)


def _artifacts(manifest: Manifest) -> Table:
    table = _table()
    table.add_column("size\nMB", justify="right", no_wrap=True)
    table.add_column("File", overflow="fold")
    table.add_column("Facts", overflow="fold")
    for artifact in manifest.artifacts:
        facts = ", ".join(f"{term}: {text}" for term, text in artifact.facts.items())
        name = Text(f"{artifact.runtime} {artifact.precision}")
        table.add_row(name, megabytes(artifact.total_bytes), Text(artifact.path), Text(facts, "dim"))
    return table


def _table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Artefact", overflow="fold", vertical="top")
    return table
