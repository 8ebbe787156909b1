"""What was left in float, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeconv.export.mixed.report import MixedReport, Price, Quality

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["mixed_lines", "mixed_tables"]


def mixed_tables(report: MixedReport) -> list[RenderableType]:
    """What each rescue gained and, where anything was timed, what it costs in each runtime.

    A row of the second has the number of that of the first; the int8 graph is 0. A cell has the figure and what the
    rescue added to it.
    """
    tables = [_gains(report)]
    return [*tables, _costs(report)] if report.int8_prices else tables


def _gains(report: MixedReport) -> RenderableType:
    from rich.markup import escape

    from edgeconv.tables import plain_table

    table = plain_table()
    table.add_column("", justify="right")
    table.add_column("Left in float", overflow="fold")
    for head in ("worst dB", "all dB", *([report.metric] if report.metric else [])):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row("0", "nothing (int8)", *_quality(report.int8, None, report.metric))
    for number, (rescue, before, _) in enumerate(report.steps(), start=1):
        what = rescue.name if rescue.operators == (rescue.name,) else f"{rescue.name}: {', '.join(rescue.operators)}"
        table.add_row(f"+ {number}", escape(what), *_quality(rescue.quality, before, report.metric))
    return table


def _costs(report: MixedReport) -> RenderableType:
    from edgeconv.tables import plain_table

    table = plain_table()
    table.add_column("", justify="right")
    for price in report.int8_prices:
        table.add_column(f"{price.runtime} ms", justify="right")
        table.add_column("MB", justify="right")
    table.add_row("0", *(cell for price in report.int8_prices for cell in _cost(price, None)))
    for number, (rescue, _, before) in enumerate(report.steps(), start=1):
        named = {price.runtime: price for price in rescue.prices}
        costs = [_cost(named[price.runtime], price) for price in before]
        table.add_row(f"+ {number}", *(cell for pair in costs for cell in pair))
    return table


def mixed_lines(report: MixedReport) -> Iterator[str]:
    """What there is to say beside the table."""
    if not report.rescues:
        yield f"{_sentence(report.target)}: int8 meets it as it is, nothing was left in float."
        yield from (f"But {words}." for words in report.missed)
        return
    yield f"{_sentence(report.target)}: met with what is in the table left in float; each row adds to those above it."
    yield "SQNR is that of the worst golden case and that over all."
    yield from (f"But {words}." for words in report.missed)
    if report.machine:
        yield f"Prices are this machine's: {report.machine}, timed in turns with the int8 graph. +: what the row adds."
    if report.dropped:
        yield f"Tried and not needed after all: {', '.join(report.dropped)}."
    yield from (f"Not priced: {reason}" for reason in report.not_priced)
    for number, prices in enumerate([report.int8_prices, *(rescue.prices for rescue in report.rescues)]):
        yield from (f"{price.runtime}, row {number}: {price.remark}" for price in prices if price.remark)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _quality(quality: Quality, before: Quality | None, metric: str | None) -> list[str]:
    cells = [
        _decibels(quality.worst_db, None if before is None else before.worst_db),
        _decibels(quality.sqnr_db, None if before is None else before.sqnr_db),
    ]
    if metric:
        cells.append("–" if quality.metric is None else f"{quality.metric:.4f}")
    return cells


def _decibels(value: float | None, before: float | None) -> str:
    if value is None:
        return "exact"
    return f"{value:.1f}" if before is None else f"{value:.1f} ({value - before:+.1f})"


def _cost(price: Price, before: Price | None) -> tuple[str, str]:
    """Milliseconds and megabytes."""
    if price.latency_ms is None:
        return "–", "–" if not price.bytes else f"{price.bytes / 1e6:.2f}"
    if before is None or before.latency_ms is None:
        return f"{price.latency_ms:.2f}", f"{price.bytes / 1e6:.2f}"
    return f"{price.latency_ms:.2f} ({price.latency_ms - before.latency_ms:+.2f})", f"{price.bytes / 1e6:.2f}"
