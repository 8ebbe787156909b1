"""`edgeconv inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["inspect"]

_SHARE = 0.25


def inspect(
    model: str,
    /,
    *,
    weights: Path | None = None,
    input_shape: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (),
    schemes: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    share: float | None = None,
    json: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Show a model's operators as they will be exported: shapes, parameters and multiply-accumulates of each layer.

    Examples: `edgeconv inspect vessels`, or `edgeconv inspect net.py:factory --input-shape 1x3x160x224`;
    `edgeconv inspect net.py:factory --schemes --share 0.25` for what factorising each convolution would lose.

    Parameters
    ----------
    model
        As for `edgeconv export`.
    weights
        As for `edgeconv export`.
    input_shape
        As for `edgeconv export`.
    schemes
        Instead, fit every factorisation scheme to every convolution and show the error of its kernel.
    share
        With --schemes: the share of a layer's weights that each scheme may use (default 0.25).
    json
        Print the rows as JSON.
    """
    from edgeconv.errors import UsageError

    terminal = Terminal(json)
    if schemes:
        if input_shape:
            raise UsageError("--schemes fits kernels, which have no input: --input-shape has no meaning with it.")
        return _schemes(model, weights, _SHARE if share is None else share, terminal, json)
    if share is not None:
        raise UsageError("--share says how many weights a scheme may use.", "Give it with --schemes.")
    from edgeconv.export.inspection import inspect_model, layers_table

    with terminal.stages("inspect") as progress:
        inspection = inspect_model(model, weights, input_shape, progress)
    if json:
        terminal.print_json(inspection)
    else:
        terminal.console.print(layers_table(inspection))
    return 0


def _schemes(model: str, weights: Path | None, share: float, terminal: Terminal, json: bool) -> int:
    from edgeconv.compression.schemes import SchemeTable, compare_schemes, schemes_table
    from edgeconv.errors import UsageError
    from edgeconv.models.loading import load_model

    loaded = load_model(model, weights)
    if loaded.module is None:
        raise UsageError(f"{model} is a traced graph; --schemes needs the module.", "Give file.py:factory.")
    with terminal.steps("fit") as progress:
        table = SchemeTable(loaded.name, share, compare_schemes(loaded.module, share, progress))
    if json:
        terminal.print_json(table)
    else:
        terminal.console.print(schemes_table(table))
    return 0
