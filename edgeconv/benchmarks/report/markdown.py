"""A run as Markdown for a pull request: one table a record, reasons and method below it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeconv.benchmarks.report.columns import COLUMNS, Cell, Column
from edgeconv.benchmarks.report.host import int8_support, warnings_of
from edgeconv.benchmarks.report.method import method_notes
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.errors import UsageError
from edgeconv.records import RunRecord

__all__ = ["markdown_report"]


def markdown_report(records: Sequence[RunRecord]) -> str:
    """GitHub-flavoured Markdown; every number of an invalid result is struck out and marked.

    Raises:
        UsageError: no records.
    """
    if not records:
        raise UsageError("A report needs at least one run record.", "edgeconv bench writes them.")
    runtimes = sorted({result.runtime for record in records for result in record.results})
    return "\n".join(line for record in records for line in _section(record, series_of(record, runtimes)))


def _section(record: RunRecord, series: Sequence[Series]) -> list[str]:
    host = record.host
    lines = [
        f"### {_text(record.model)} on {_text(record.device)}",
        "",
        f"{_text(host.cpu_model or host.machine)}, int8 dot product: {_text(int8_support(host))}, "
        f"governor {_text(host.governor or 'unknown')}, target {_text(record.target)}, "
        f"bundle {_text(record.bundle)} {_text(record.manifest_sha256[:12])}, {_text(record.started_at)}",
        "",
    ]
    for warning in warnings_of(record):
        lines += [f"> **{_text(warning)}**", ""]
    if not series:
        return lines
    columns = [column for column in COLUMNS if any(column.read(s.result).text for s in series)]
    lines.append("| Artefact | Valid | " + " | ".join(_text(column.label) for column in columns) + " |")
    lines.append("|---|---|" + "---:|" * len(columns))
    lines += [_row(s, columns) for s in series]
    lines.append("")
    invalid = [s for s in series if not s.result.valid]
    for s in invalid:
        reasons = "; ".join(s.result.invalid_reasons) or "no reason recorded"
        lines.append(f"- ✕ **{_text(s.label)}** is not valid: {_text(reasons)}")
    lines += [""] if invalid else []
    lines += ["<details><summary>How the numbers were made</summary>", ""]
    lines += [f"- **{note.term}** {_text(note.text)}" for note in method_notes(record)]
    return [*lines, "", "</details>", ""]


def _row(series: Series, columns: Sequence[Column]) -> str:
    valid = series.result.valid
    cells = [_number(column.read(series.result), valid or not column.measured) for column in columns]
    return f"| {_text(series.label)} | {'yes' if valid else '✕ **no**'} | " + " | ".join(cells) + " |"


def _number(cell: Cell, plain: bool) -> str:
    if not cell.text:
        return "–"
    return cell.text if plain else f"~~{cell.text}~~ ✕"


def _text(text: str) -> str:
    """`text` as nothing but text: no line break, no HTML, no Markdown."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line).replace("@", "@<!-- -->")
