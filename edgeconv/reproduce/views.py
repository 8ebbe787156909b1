"""The outcomes as a table for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.reproduce.claims import HOLDS, IN_PART, NOT, Outcome

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["outcome_markdown", "outcome_table"]

_COLOURS = {HOLDS: "green", IN_PART: "yellow", NOT: "red"}


def outcome_table(outcome: Outcome) -> Table:
    """One experiment for the terminal."""
    from rich.markup import escape

    from edgeconv.tables import plain_table

    title = f"{outcome.headline} ({outcome.name}, {outcome.seconds:.1f} s)"
    table = plain_table("claim", "condition", "expected", "found", "verdict", title=title)
    for row in outcome.rows:
        colour = _COLOURS.get(row.verdict)
        verdict = f"[{colour}]{row.verdict}[/]" if colour else row.verdict
        table.add_row(*map(escape, (row.claim, row.condition, row.expected, row.found)), verdict)
    return table


def outcome_markdown(outcomes: Sequence[Outcome], command: str) -> str:
    """All experiments as a page, made by `command`."""
    parts = ["# Headline results, reproduced\n", f"Made by `{command}`.\n"]
    for outcome in outcomes:
        parts.append(f"\n## {outcome.headline}\n\n`edgeconv reproduce {outcome.name}`, {outcome.seconds:.0f} s\n\n")
        parts.append("| claim | condition | expected | found | verdict |\n|---|---|---|---|---|\n")
        for row in outcome.rows:
            cells = (row.claim, row.condition, row.expected, row.found, row.verdict)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)
