from __future__ import annotations

import io

from rich.console import Console

from edgeconv.tables import plain_table


def test_brackets_in_a_title_are_printed_as_they_are() -> None:
    """Titles have names out of files: a tag that closes nothing would end the command in a traceback."""
    for title in ("net[/b]", "net[red]x"):
        stream, table = io.StringIO(), plain_table("heading", title=title)
        table.add_row("as wide as the title")
        Console(file=stream, width=60).print(table)
        assert stream.getvalue().splitlines()[0].rstrip() == title
