"""A run as Markdown for a pull request: the verdict first, a short table, reasons; all figures are folded away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from edgeconv.benchmarks.report.columns import COLUMNS, Cell, Column, columns_of
from edgeconv.benchmarks.report.evidence import summary_line
from edgeconv.benchmarks.report.host import int8_support, warnings_of
from edgeconv.benchmarks.report.method import method_notes
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.store.trend import kind_of
from edgeconv.errors import UsageError
from edgeconv.manifest import Failure
from edgeconv.parity.verdict import check_parity
from edgeconv.records import RunRecord

__all__ = ["markdown_report"]

_SHORT = ("Latency p50", "Latency p90", "Memory peak", "Drift total", "Task metric change", "Ran")


def markdown_report(records: Sequence[RunRecord]) -> str:
    """GitHub-flavoured Markdown; every number of an invalid result is struck out and marked.

    Raises:
        UsageError: no records.
    """
    if not records:
        raise UsageError("A report needs at least one run record.", "edgeconv bench writes them.")
    return "\n".join(line for record in records for line in _section(record, series_of(record, records)))


def _section(record: RunRecord, series: Sequence[Series]) -> list[str]:
    host = record.host
    lines = [f"### {_verdict(record)}", ""]
    kind = kind_of(host.emulated, host.clock)
    machine = " · ".join(dict.fromkeys(filter(None, [host.board, host.cpu_model or host.machine])))
    lines += [
        f"{_text(machine)}, int8 dot product: {_text(int8_support(host))}, "
        f"governor {_text(host.governor or 'unknown')}, target {_text(record.target)}, "
        f"bundle {_text(record.bundle)} {_text(record.manifest_sha256[:12])}, {_text(record.started_at)}",
        "",
    ]
    for warning in warnings_of(record):
        lines += ["> [!WARNING]" if kind != "measured" else "> [!IMPORTANT]", f"> **{_text(warning)}**", ""]
    if series:
        lines += [*_table(series, [column for column in columns_of(*_SHORT) if _filled(column, series)]), ""]
    remarks = [*_remarks(series), *(_failure(failure) for failure in record.failures)]
    lines += [*remarks, ""] if remarks else []
    if not series:
        return lines
    lines += ["<details><summary>All figures, and how they were made</summary>", ""]
    lines += [*_table(series, [column for column in COLUMNS if _filled(column, series)]), ""]
    lines += [f"- **{note.term}** {_text(note.text)}" for note in method_notes(record)]
    return [*lines, "", "</details>", ""]


def _verdict(record: RunRecord) -> str:
    """The heading: whether all of it can be relied upon, then of what it is."""
    parity = check_parity(record)
    bad = sum(not result.valid for result in record.results)
    drifted = len({(f.runtime, f.precision) for f in parity.findings if not f.passed})
    troubles = [
        "nothing was measured" if not record.results else "",
        f"{bad} of {len(record.results)} not valid" if bad else "",
        f"parity fails for {drifted}" if drifted else "",
        f"{len(record.failures)} could not be made" if record.failures else "",
    ]
    told = ", ".join(filter(None, troubles)) or f"all {len(record.results)} valid, parity holds"
    kind = kind_of(record.host.emulated, record.host.clock)
    mark = "❌" if any(troubles) else "✅"
    where = f"{_text(record.model)} on {_text(record.device)}" + ("" if kind == "measured" else f" ({kind.upper()})")
    return f"{mark} {where}: {told}"


def _remarks(series: Sequence[Series]) -> Iterator[str]:
    for s in series:
        if not s.result.valid:
            reasons = "; ".join(s.result.invalid_reasons) or "no reason recorded"
            yield f"- ✕ **{_text(s.label)}** is not valid: {_text(reasons)}"
        if told := summary_line(s.result.latency_ns):
            yield f"- **{_text(s.label)}** {_text(told)}"


def _failure(failure: Failure) -> str:
    return f"- ✕ **{_text(failure.runtime)} {_text(failure.precision)}** could not be made: {_text(failure.reason)}"


def _filled(column: Column, series: Sequence[Series]) -> bool:
    return any(column.read(s.result).text for s in series)


def _table(series: Sequence[Series], columns: Sequence[Column]) -> list[str]:
    return [
        "| Artefact | Valid | " + " | ".join(_text(column.label) for column in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
        *(_row(s, columns) for s in series),
    ]


def _row(series: Series, columns: Sequence[Column]) -> str:
    valid = series.result.valid
    cells = [_number(column.read(series.result), valid or not column.of_speed) for column in columns]
    return f"| {_text(series.label)} | {'yes' if valid else '✕ **no**'} | " + " | ".join(cells) + " |"


def _number(cell: Cell, plain: bool) -> str:
    if not cell.text:
        return "–"
    text = _text(cell.text) + (f" ±{cell.spread}" if cell.spread else "")
    return text if plain else f"~~{text}~~ ✕"


def _text(text: str) -> str:
    """`text` as nothing but text: no line break, no HTML, no Markdown."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line).replace("@", "@<!-- -->")
