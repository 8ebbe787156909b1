"""A comparison for a terminal and for a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.benchmarks.compare import Comparison, ComparisonRow
from edgeconv.benchmarks.ratios import CONFIDENCE, Ratio

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["comparison_markdown", "comparison_table"]

_BAD, _GOOD = ("slower", "missing", "invalid"), ("faster",)
_HEAD = ("runtime", "precision", "verdict", "median", "p90", "memory", "drift", "metric")


def comparison_table(comparison: Comparison) -> RenderableType:
    """The comparison for a terminal: ratios with their intervals, memory and drift beside them, notes below."""
    from rich.console import Group
    from rich.text import Text

    from edgeconv.tables import plain_table

    table = plain_table(title=_title(comparison))
    table.add_column("artefact", no_wrap=True)
    for column in _HEAD[2:]:
        # what is too narrow goes on in the next line: a ratio above its interval
        table.add_column(column, justify="left" if column in _HEAD[:3] else "right", overflow="fold")
    for row in comparison.rows:
        style = "bold red" if row.verdict in _BAD else "green" if row.verdict in _GOOD else ""
        cells = _cells(row)
        table.add_row(" ".join(cells[:2]), Text(cells[2], style), *cells[3:])
    return Group(table, *(Text(line, "dim") for line in _below(comparison)))


def comparison_markdown(comparison: Comparison) -> str:
    """The same as GitHub-flavoured Markdown."""
    lines = [f"### {_title(comparison)}", "", f"| {' | '.join(_HEAD)} |", f"|{'---|' * 3}{'---:|' * (len(_HEAD) - 3)}"]
    for row in comparison.rows:
        cells = [cell.replace("|", "\\|") for cell in _cells(row)]
        cells[2] = f"**{cells[2]}**" if row.verdict in _BAD else cells[2]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {line}" for line in _below(comparison))]
    return "\n".join(lines) + "\n"


def _title(comparison: Comparison) -> str:
    return f"{comparison.model}: {comparison.candidate} against {comparison.base}"


def _cells(row: ComparisonRow) -> list[str]:
    mode = "" if row.mode == "steady" else f" ({row.mode})"
    return [
        row.runtime,
        f"{row.precision}{mode}",
        row.verdict,
        _ratio(row.median),
        _ratio(row.p90),
        "–" if row.memory_ratio is None else f"{row.memory_ratio - 1:+.0%}",
        "–" if row.drift_db is None else f"{0 - row.drift_db:+.1f} dB",
        "–" if row.metric_drop is None else f"{0 - row.metric_drop:+.1%}",
    ]


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "–"
    if ratio.low == ratio.high:
        return f"{ratio.value - 1:+.1%} exactly"
    return f"{ratio.value - 1:+.1%} [{ratio.low - 1:+.1%}, {ratio.high - 1:+.1%}]"


def _below(comparison: Comparison) -> list[str]:
    return [
        f"Latency, candidate against base, with {CONFIDENCE:.0%} intervals; differences below "
        f"{comparison.min_effect:.0%} do not count.",
        *comparison.notes,
        *(f"{' '.join(_cells(row)[:2])}: {note}" for row in comparison.rows for note in row.notes),
    ]
