"""`edgeconv compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal

__all__ = ["compare"]


def compare(
    base: Path,
    candidate: Path,
    /,
    *,
    min_effect: float = 0.05,
    json: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Compare two run records: is the candidate faster, slower, the same, or can't one tell?

    Exit code 1 when an artefact is slower, missing or newly invalid. Example: `edgeconv compare old.json new.json`.

    Parameters
    ----------
    base
        Run record of the baseline.
    candidate
        Run record to be judged.
    min_effect
        Differences of the median below this fraction count as the same.
    json
        Print the comparison as JSON.
    """
    from edgeconv.benchmarks.compare import compare_runs, comparison_table
    from edgeconv.records import read_record

    terminal = Terminal(json)
    comparison = compare_runs(read_record(base), read_record(candidate), min_effect=min_effect)
    if json:
        terminal.print_json(comparison)
    else:
        terminal.console.print(comparison_table(comparison))
    return EXIT_FAILED if comparison.worse else 0
