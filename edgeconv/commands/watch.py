"""`edgeconv watch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from edgeconv.benchmarks.live import LiveState

__all__ = ["watch"]

_POLL_SECONDS = 0.5
_QUIET_SECONDS = 10.0  # without news, after which that is said

_Flag = Parameter(negative="", show_default=False)


def watch(
    run: str = "",
    /,
    *,
    last: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Watch a benchmark that runs on this machine: what it measures, latency so far, temperature.

    Ends with the run; exit code 1 when the run failed or was killed. Example: `edgeconv watch`, in another terminal.

    Parameters
    ----------
    run
        The run's id or the beginning of it; not needed when only one is running.
    last
        The one that began last, running or just ended.
    json
        Print each new state as a line of JSON.
    """
    terminal = Terminal()
    state = _chosen(run, last)
    if json:
        return _exit_code(_follow(state, _print_json))
    if terminal.console.is_terminal:
        from rich.live import Live

        with Live(_panel(state), console=terminal.console, auto_refresh=False) as live:
            state = _follow(state, lambda now: live.update(_panel(now), refresh=True), steadily=True)
    else:
        state = _follow(state, lambda now: terminal.console.print(_line(now), markup=False, soft_wrap=True))
    ends = {"done": "has ended", "failed": "failed"}
    terminal.console.print(f"Run {state.run_id} {ends.get(state.ended, 'was killed')}.", markup=False)
    return _exit_code(state)


def _chosen(run: str, last: bool) -> LiveState:
    from edgeconv.benchmarks.live import is_running, live_runs
    from edgeconv.errors import UsageError

    states = live_runs()
    found = [state for state in states if state.run_id.startswith(run)]
    if not run and not last:
        found = [state for state in found if is_running(state)]
    if not found:
        what = f"No run called {run!r} is at work here." if run else "No benchmark is running here."
        raise UsageError(what, "edgeconv bench starts one; edgeconv history lists those that have ended.")
    if len(found) > 1 and not last:
        raise UsageError(
            f"{len(found)} runs are at work: {', '.join(state.run_id for state in found)}.", "Name one, or use --last."
        )
    return found[-1]


def _follow(state: LiveState, show: Callable[[LiveState], None], steadily: bool = False) -> LiveState:
    """Show the state whenever it changed (`steadily`: every time it is looked at) until the run is over; the last one.

    It ends when the run does: a process that was killed is noticed, and a benchmark bounds its own time.
    """
    from edgeconv.benchmarks.live import is_running, live_runs

    show(state)
    while is_running(state):
        time.sleep(_POLL_SECONDS)
        now = next((other for other in live_runs() if other.run_id == state.run_id), state)
        if steadily or now != state:
            show(now)
        state = now
    return state


def _exit_code(state: LiveState) -> int:
    return 0 if state.ended == "done" else EXIT_FAILED


def _print_json(state: LiveState) -> None:
    import json
    import sys

    from edgeconv.schema import to_dict

    sys.stdout.write(json.dumps(to_dict(state)) + "\n")
    sys.stdout.flush()


def _line(state: LiveState) -> str:
    return "  ".join(text for _, text in _facts(state))


def _panel(state: LiveState) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for term, text in _facts(state):
        table.add_row(term, Text(text))
    return table


def _facts(state: LiveState) -> list[tuple[str, str]]:
    """What is known, by name."""
    from edgeconv.benchmarks.report.units import milliseconds

    total = f" of {state.total}" if state.total else ""
    number = min(state.done + 1, state.total or state.done + 1)
    silent = time.time() - state.heartbeat_seconds
    facts = {
        "run": f"{state.model} for {state.device} on {state.target}",
        "at work": f"{number}{total} {state.artifact}".strip() if state.artifact else "",
        "phase": state.ended or state.phase,
        "samples": "" if state.samples is None else f"{state.samples} samples",
        "p50 so far": "" if state.p50_ns is None else f"{milliseconds(state.p50_ns)} ms",
        "temperature": "" if state.temperature_celsius is None else f"{state.temperature_celsius:.1f} °C",
        "elapsed": f"{state.elapsed_seconds:.0f} s",
        "news": f"none for {silent:.0f} s" if silent > _QUIET_SECONDS and not state.ended else "",
    }
    return [(term, text) for term, text in facts.items() if text]
