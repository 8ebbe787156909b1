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
    force: Annotated[bool, _Flag] = False,
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
    force
        Replace that file if it exists.
    json
        Print the rows as JSON.
    """
    from edgeconv.errors import UsageError
    from edgeconv.files import atomic_write_bytes, check_writable, refuse_existing_file
    from edgeconv.reproduce import get_experiments, run_experiments
    from edgeconv.reproduce.claims import Outcomes
    from edgeconv.reproduce.views import outcome_markdown, outcome_table

    terminal = Terminal(json)
    if names and (all or list):
        raise UsageError(f"--{'all' if all else 'list'} has no meaning with names of experiments.", "Leave it out.")
    if list:
        for experiment in get_experiments():
            mark = " (minutes)" if experiment.slow else ""
            terminal.console.print(f"[bold]{experiment.name}[/]  {experiment.headline}{mark}", highlight=False)
        return 0
    chosen = get_experiments(names, slow=all)
    if output is not None:
        refuse_existing_file(output, force)
        check_writable(output)
    outcomes = []
    with terminal.steps("reproduce") as progress:
        for outcome in run_experiments(chosen, progress):
            outcomes.append(outcome)
            if not json:
                terminal.console.print(outcome_table(outcome))
    if output is not None:
        words = ["edgeconv reproduce", *names, *(["--all"] if all else []), f"-o {output}"]
        atomic_write_bytes(output, outcome_markdown(outcomes, " ".join(words)).encode())
        terminal.done(str(output))
    if json:
        terminal.print_json(Outcomes(outcomes))
    return 0
