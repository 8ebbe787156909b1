"""`edgeconv compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal

if TYPE_CHECKING:
    from edgeconv.records import RunRecord

__all__ = ["compare"]

_Flag = Parameter(negative="", show_default=False)


def compare(
    base: str,
    candidate: str,
    /,
    *,
    min_effect: float | None = None,
    fail_on: str = "slower,missing,failing,invalid",
    across_devices: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
    markdown: Annotated[bool, _Flag] = False,
) -> int:
    """Compare two runs of a model: is the candidate faster, slower, the same, or can't one tell?

    Exit code 1 when one of the events of --fail-on happened, 2 when the runs cannot be compared.
    Example: `edgeconv compare old.json new.json --fail-on slower,missing,drift`.

    Parameters
    ----------
    base
        The baseline: a run record (.json) or the id of a run in the history.
    candidate
        The run to be judged, likewise.
    min_effect
        Differences of a latency below this fraction do not count (default: 0.05; 0.01 of a virtual clock).
    fail_on
        Events that fail, with commas between: slower, missing (an artefact vanished), failing (parity newly fails),
        invalid (a latency is newly invalid), drift, memory; or none.
    across_devices
        Compare runs of different devices too.
    json
        Print the comparison as JSON.
    markdown
        Print it as Markdown, for a pull request.
    """
    from edgeconv.benchmarks.compare import compare_runs
    from edgeconv.benchmarks.comparison_views import comparison_markdown, comparison_table

    terminal = Terminal(json or markdown)
    events = _events(fail_on)
    comparison = compare_runs(_record(base), _record(candidate), min_effect=min_effect, across_devices=across_devices)
    if json:
        terminal.print_json(comparison)
    elif markdown:
        print(comparison_markdown(comparison), end="")
    else:
        terminal.console.print(comparison_table(comparison))
    return EXIT_FAILED if comparison.events(events) else 0


def _events(text: str) -> list[str]:
    from edgeconv.benchmarks.compare import EVENTS
    from edgeconv.errors import UsageError

    events = [event.strip() for event in text.split(",")]
    if events == ["none"]:
        return []
    unknown = [event for event in events if event not in EVENTS]
    if unknown:
        raise UsageError(f"--fail-on knows no event {unknown[0]!r}.", f"There are: {', '.join(EVENTS)}, or none.")
    return events


def _record(name: str) -> RunRecord:
    """A record file, or a run of the history where no such file exists."""
    from edgeconv.records import read_record

    path = Path(name)
    if path.suffix == ".json" or path.exists():
        return read_record(path)
    from edgeconv.benchmarks.store import find_run

    return find_run(name)
