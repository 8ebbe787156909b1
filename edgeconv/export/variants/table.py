"""What was found out about other graphs, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from edgeconv.benchmarks.report.units import decibels, megabytes
from edgeconv.export.variants.report import GraphTuning, VariantResult
from edgeconv.tables import plain_table

__all__ = ["graphs_table"]


def graphs_table(tuning: GraphTuning) -> RenderableType:
    """A row for each variant in each artefact, then why each was taken or not."""
    table = plain_table()
    table.add_column("Graph", overflow="fold")
    table.add_column("artefact", overflow="fold")
    for title in ("MB", "was", "SQNR dB", "was", "median / own"):
        table.add_column(title, justify="right")
    for trial in tuning.trials:
        name = Text(f"✓ {trial.name}" if trial.taken else trial.name, "bold" if trial.taken else "")
        for result in trial.results:
            table.add_row(name, *_cells(result))
            name = Text("")
    words = [
        Text.assemble((f"{trial.name}: ", "bold"), "taken, " if trial.taken else "not taken, ", trial.remark)
        for trial in tuning.trials
    ]
    return Group(Text(f"Other graphs, {tuning.basis}:"), table, *words)


def _cells(result: VariantResult) -> tuple[str, ...]:
    ratio = result.ratio
    latency = (
        f"about {result.estimate:.2f}, estimated"
        if ratio is None
        else f"{ratio.value:.3f} ({ratio.low:.3f} … {ratio.high:.3f})"
    )
    return (
        result.label,
        "–" if result.bytes is None else megabytes(result.bytes),
        megabytes(result.base_bytes),
        *("–" if value is None else decibels(value) for value in (result.sqnr_db, result.base_sqnr_db)),
        latency,
    )
