"""The one look of tables in the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

__all__ = ["plain_table"]


def plain_table(*headings: str, title: str | None = None) -> Table:
    """A line under bold headings and no frame; more columns can be added. Brackets in `title` are no markup."""
    return Table(
        *headings,
        title=None if title is None else Text(title, "table.title"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold",
    )
