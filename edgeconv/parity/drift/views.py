"""A drift report as a terminal table and as Markdown: the same rows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeconv.benchmarks.report.units import decibels, metric
from edgeconv.parity.drift.record import ArtifactDrift, DriftReport, LayerError, OnTarget, Parts
from edgeconv.tables import plain_table

__all__ = ["LEGEND", "drift_cells", "drift_markdown", "drift_table", "summary"]

_EXACT, _NONE = "=", "–"
_TERMINAL_ROWS = 15
_HEAD = ("Layer", "#", "share\n%", "at output\nW / A", "own\nW / A", "running\nQ/DQ")
LEGEND = (
    "Share: of all output errors that single layers make. At output, own: SQNR in dB of the network's output, and of "
    "the layer's own, with only this layer's weights (W) or activations (A) in int8. Running: SQNR in dB of its output "
    "in the whole int8 network, against fp32. Steps: how far an operator is off the reference's integers when it is "
    f"fed with them. {_EXACT} no difference, {_NONE} not there."
)


def drift_table(report: DriftReport) -> RenderableType:
    """What fits a terminal: end to end all artefacts, else the layers with the largest shares."""
    if not report.layers:
        return _rich(_artifact_rows(report))
    shown = report.ranked[:_TERMINAL_ROWS]
    rest = report.ranked[_TERMINAL_ROWS:]
    lines: list[RenderableType] = [Text(summary(report), "bold"), _rich(_narrow_rows(shown))]
    if rest:
        share = sum(layer.share for layer in rest)
        lines.append(Text(f"{len(rest)} more layers make {share:.1%} of the error; -o writes all.", "dim"))
    return Group(*lines, Text(LEGEND, "dim"), *(Text(note, "yellow") for note in report.notes))


def drift_cells(report: DriftReport) -> list[list[str]]:
    """All rows as text, the head first."""
    return _layer_rows(report, report.ranked) if report.layers else _artifact_rows(report)


def drift_markdown(report: DriftReport) -> str:
    """All rows."""
    head, *body = [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in drift_cells(report)]
    table = [head, ["---" if index == 0 else "--:" for index in range(len(head))], *body]
    lines = [f"# Drift of {report.bundle} on {report.target}", ""]
    lines += [summary(report), ""] if report.layers else []
    lines += [f"| {' | '.join(row)} |" for row in table]
    lines += ["", LEGEND] if report.layers else []
    return "\n".join([*lines, *(f"\n> {note}" for note in report.notes), ""])


def summary(report: DriftReport) -> str:
    """The whole network in a line."""
    network, cases = report.network, ", ".join(map(str, report.cases))
    if network is None:
        return ""
    return (
        f"{report.bundle}, golden case {cases}: only the weights in int8 {_db(network.alone.weights_db)} dB, only the "
        f"activations {_db(network.alone.activations_db)} dB, both {_db(network.both_db)} dB."
    )


def _artifact_rows(report: DriftReport) -> list[list[str]]:
    has_task = any(row.task for row in report.artifacts)
    head = ["Artefact", "export\ndB", "quantisation\ndB", "runtime\ndB", "total\ndB"]
    task = next((row.task.name for row in report.artifacts if row.task), "")
    rows = [[*head, *([f"{task}\n(PyTorch)"] if has_task else [])]]
    return rows + [_artifact_row(row, has_task) for row in report.artifacts]


def _artifact_row(row: ArtifactDrift, has_task: bool) -> list[str]:
    name = f"{row.runtime} {row.precision}"
    if row.drift is None:
        return [f"{name}: {row.reason}", *[_NONE] * (5 if has_task else 4)]
    parts = (row.drift.export, row.drift.quantisation, row.drift.runtime, row.drift.total)
    task = f"{metric(row.task.value)} ({metric(row.task.torch)})" if row.task else _NONE
    return [name, *(_db(part.sqnr_db) for part in parts), *([task] if has_task else [])]


def _layer_rows(report: DriftReport, layers: Sequence[LayerError]) -> list[list[str]]:
    """With a column for each runtime."""
    runtimes = [entry.runtime for entry in report.layers[0].on_target]
    head = [*_HEAD, *(f"{runtime}\nrunning, steps" for runtime in runtimes)]
    return [head, *([*_simulated(layer), *map(_seen, layer.on_target)] for layer in layers)]


def _narrow_rows(layers: Sequence[LayerError]) -> list[list[str]]:
    """With the worst of all runtimes."""
    return [[*_HEAD, "worst\nruntime", "most\nsteps"], *([*_simulated(layer), *_worst(layer)] for layer in layers)]


def _simulated(layer: LayerError) -> list[str]:
    share = f"{100 * layer.share:.1f}"
    simulated = [_pair(layer.at_output), _pair(layer.own), _db(layer.cumulative_db)]
    return [layer.label, str(layer.number), share, *simulated]


def _seen(entry: OnTarget) -> str:
    return f"{_db(entry.cumulative_db) if entry.read else _NONE}, {_steps([entry])}"


def _worst(layer: LayerError) -> list[str]:
    read = [entry.cumulative_db for entry in layer.on_target if entry.read]
    known = [db for db in read if db is not None]
    return [_db(min(known, default=None)) if read else _NONE, _steps(layer.on_target)]


def _steps(entries: Sequence[OnTarget]) -> str:
    found = [entry.max_steps for entry in entries if entry.max_steps is not None]
    return str(max(found)) if found else _NONE


def _pair(parts: Parts) -> str:
    return f"{_db(parts.weights_db)} / {_db(parts.activations_db)}"


def _db(value: float | None) -> str:
    return _EXACT if value is None else decibels(value)


def _rich(rows: Sequence[Sequence[str]]) -> Table:
    table = plain_table()
    for index, title in enumerate(rows[0]):
        table.add_column(Text(title), overflow="fold", justify="right" if index else "left", no_wrap=index > 0)
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row))
    return table
