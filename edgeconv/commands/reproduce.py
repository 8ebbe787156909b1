"""`edgeconv reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["reproduce"]

_Flag = Parameter(negative="", show_default=False)


def reproduce(
    *names: str,
    all: Annotated[bool, _Flag] = False,  # noqa: A002 — the flag's name
    list: Annotated[bool, _Flag] = False,  # noqa: A002 — the flag's name
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Run headline results of the papers again: claim, condition, our number, and whether the claim holds.

    Without names the quick ones run, with --all also those that train for minutes.
    Examples: `edgeconv reproduce --list`, `edgeconv reproduce separability coordgate-1d`,
    `edgeconv reproduce --all -o reproduction.md`.

    Parameters
    ----------
    names
        Experiments, see --list.
    all
        Also the slow ones.
    list
        Only list them.
    output
        Also write the table as Markdown.
    json
        Print the rows as JSON.
    """
    from edgeconv.files import atomic_write_bytes
    from edgeconv.reproduce import get_experiments, run_experiments
    from edgeconv.reproduce.claims import Outcomes
    from edgeconv.reproduce.views import outcome_markdown, outcome_table

    terminal = Terminal(json)
    if list:
        for experiment in get_experiments():
            mark = " (minutes)" if experiment.slow else ""
            terminal.console.print(f"[bold]{experiment.name}[/]  {experiment.headline}{mark}", highlight=False)
        return 0
    outcomes = []
    with terminal.steps("reproduce") as progress:
        for outcome in run_experiments(get_experiments(names, slow=all), progress):
            outcomes.append(outcome)
            if not json:
                terminal.console.print(outcome_table(outcome))
    if output is not None:
        atomic_write_bytes(output, outcome_markdown(outcomes).encode())
        terminal.done(str(output))
    if json:
        terminal.print_json(Outcomes(outcomes))
    return 0
