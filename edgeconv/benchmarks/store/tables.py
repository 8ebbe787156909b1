"""Runs and trends of the store as terminal tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeconv.benchmarks.store.index import StoredRun
from edgeconv.benchmarks.store.trend import Figure, Point, Trend, changes_of, kind_of
from edgeconv.tables import plain_table

__all__ = ["runs_table", "sparkline", "trends_table"]

_LEVELS = "▁▂▃▄▅▆▇█"
_INVALID = "✗"
_EMULATED = " (emulated)"
_CHANGES = 6  # lines of them under a table
_WIDEST = 40  # points of a sparkline


def runs_table(runs: Sequence[StoredRun]) -> Table:
    """One row a run, the newest last."""
    table = _table("Run", "started", "model", "device", "machine", "results")
    for run in runs:
        kind = kind_of(run.emulated, run.clock)
        place = run.machine.removesuffix(_EMULATED)  # which the name of an emulated board ends with
        machine = Text(run.machine) if kind == "measured" else Text.assemble(place, (f" ({kind})", "yellow"))
        bad = sum(not result.valid for result in run.results)
        results = Text(str(len(run.results))) + Text(f", {bad} {_INVALID}" if bad else "", "red")
        started = run.started_at[:16].replace("T", " ")
        table.add_row(Text(run.run_id), started, Text(run.model), Text(run.device), machine, results)
    return table


def trends_table(trends: Sequence[Trend], figure: Figure) -> RenderableType:
    """One row a trend with its sparkline, under the machine that it was taken on; then what changed on the way."""
    parts: list[RenderableType] = []
    for (device, machine, kind), same in itertools.groupby(trends, lambda t: (t.device, t.machine, t.kind)):
        group = list(same)
        heading = Text.assemble((device, "bold"), f" on {machine}, {figure.title} in {figure.unit}")
        parts.append(heading if kind == "measured" else heading + Text(f"  {kind.upper()}", "bold yellow"))
        table = _table("Artefact", "trend", "first", "last", "change", "runs")
        for column in table.columns[2:]:
            column.justify = "right"
        for trend in group:
            table.add_row(Text(trend.label), Text(sparkline(trend.points)), *_ends(trend), str(len(trend.points)))
        changes = changes_of(group)
        earlier = f"… and {len(changes) - _CHANGES} changes before" if len(changes) > _CHANGES else ""
        parts += [table, *(Text(line, "dim") for line in filter(None, [earlier, *changes[-_CHANGES:]])), Text("")]
    parts.append(Text(f"{_INVALID} is a run that is not valid; edgeconv compare judges a difference.", "dim"))
    return Group(*parts)


def sparkline(points: Sequence[Point]) -> str:
    """The newest points as a line of blocks, lowest to highest of the valid ones; an invalid one is a cross."""
    shown = points[-_WIDEST:]
    values = [point.value for point in shown if point.valid]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    # A change of less than a tenth does not fill the height: noise should not look like mountains.
    spread = max(high - low, 0.1 * abs(high)) or 1.0
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round(top * (point.value - low) / spread)] if point.valid else _INVALID for point in shown)


def _ends(trend: Trend) -> tuple[str, str, Text]:
    if not trend.valid:
        return "–", "–", Text("no valid run", "red")
    first, last = trend.valid[0].value, trend.valid[-1].value
    change = f"{(last - first) / first:+.1%}" if first else "–"
    return f"{first:,.4g}", f"{last:,.4g}", Text(change if len(trend.valid) > 1 else "–")


def _table(*titles: str) -> Table:
    table = plain_table()
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
