from __future__ import annotations

import io

from rich.console import Console

from edgeconv.export.inspection import Inspection, LayerRow, layers_table


def test_names_out_of_a_graph_are_printed_as_they_are() -> None:
    row = LayerRow("block[/b]/Conv", "Conv[red]", [1, 8, 4, 4], [3, 3], 72, 1152)
    stream = io.StringIO()
    inspection = Inspection("net[/b]", 72, 1152, [row], {"Conv[red]": 1})
    Console(file=stream, width=120).print(layers_table(inspection))
    text = stream.getvalue()
    assert "net[/b]: 72 parameters" in text
    assert "block[/b]/Conv" in text
    assert "Conv[red]" in text
