"""`edgeconv inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["inspect"]


def inspect(
    model: str,
    /,
    *,
    weights: Path | None = None,
    input_shape: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (),
    json: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Show a model's operators as they will be exported: shapes, parameters and multiply-accumulates of each layer.

    Example: `edgeconv inspect vessels`, or `edgeconv inspect net.py:factory --input-shape 1x3x160x224`.

    Parameters
    ----------
    model
        As for `edgeconv export`.
    weights
        As for `edgeconv export`.
    input_shape
        As for `edgeconv export`.
    json
        Print the rows as JSON.
    """
    from edgeconv.export.inspection import inspect_model, layers_table

    terminal = Terminal(json)
    with terminal.stages("inspect") as progress:
        inspection = inspect_model(model, weights, input_shape, progress)
    if json:
        terminal.print_json(inspection)
    else:
        terminal.console.print(layers_table(inspection))
    return 0
