"""What a search tried, as a table for the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from edgeconv.export.search.report import SearchReport
from edgeconv.tables import plain_table

__all__ = ["search_table"]


def search_table(report: SearchReport) -> Table:
    """One row for each candidate; a tick where it was kept."""
    table = plain_table("Step", title=f"{len(report.candidates)} candidates, {report.gain_db:+.1f} dB")
    table.caption_justify = "left"
    table.caption = (
        f"SQNR in dB against fp32 on {report.held_samples} images held back from calibration "
        f"({report.calibration_samples} calibrate), and on shifted copies of them. Latency: {report.latency_basis}."
    )
    table.add_column("Candidate", overflow="fold")
    for heading in ("SQNR", "Shifted", "Latency"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for candidate in report.candidates:
        mark = "[green]✓[/]" if candidate.chosen else escape(candidate.remark)
        figures = [_rounded(value, 1) for value in (candidate.sqnr_db, candidate.shifted_db)]
        figures.append(_rounded(candidate.latency_ratio, 2))
        table.add_row(candidate.step, escape(candidate.name), *figures, mark)
    return table


def _rounded(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
