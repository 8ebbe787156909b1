"""``agent.pyz state``: one look, or one look after the other.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any, List

from edgeconv.benchmarks.agent.state.look import Look, StateReader
from edgeconv.benchmarks.agent.state.sources import Sources, system_root
from edgeconv.errors import UsageError
from edgeconv.schema import to_dict, to_json

__all__ = ["add_parser", "describe_look"]

_LESS_PRIORITY = 10
_LEAST_SECONDS = 0.05


def add_parser(commands: Any) -> None:
    """Add ``state`` to the agent's commands (the object that `add_subparsers` gives)."""
    parser = commands.add_parser("state", help="clocks, temperatures, throttling and power, now or again and again")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="look so often, until standard input ends")
    parser.add_argument("--json", action="store_true", help="as JSON; with --watch, one line a look")
    parser.add_argument("--root", type=Path, default=system_root(), help="where /proc and /sys are, default: /")
    parser.set_defaults(command=_state)


def _state(options: argparse.Namespace) -> None:
    if options.watch is not None and not _LEAST_SECONDS <= options.watch < float("inf"):
        raise UsageError(f"--watch {options.watch} is no interval; it needs seconds, at least {_LEAST_SECONDS}.")
    reader = StateReader(Sources(options.root))
    try:
        if options.watch is None:
            look = reader.look()
            print(to_json(look) if options.json else describe_look(look), end="" if options.json else "\n")
        else:
            _watch(reader, options.watch, options.json)
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on: end without a complaint at exit
    finally:
        reader.close()


def _watch(reader: StateReader, seconds: float, as_json: bool) -> None:
    """Until standard input ends, with one last look then; or until the process that started us is gone."""
    os.nice(_LESS_PRIORITY)
    parent = os.getppid()
    last = False
    while True:
        due = time.monotonic() + seconds
        look = reader.look()
        print(json.dumps(to_dict(look)) if as_json else describe_look(look), flush=True)
        if last or os.getppid() != parent:
            return
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], max(due - time.monotonic(), 0.0))
        last = bool(readable) and not os.read(sys.stdin.fileno(), 1 << 12)


def describe_look(look: Look) -> str:
    """A line for people."""
    reading = look.reading
    clocks = ", ".join(f"{name} {khz / 1000:.0f} MHz" for name, khz in reading.frequencies_khz.items())
    governors = ", ".join(dict.fromkeys(reading.governors.values()))
    temperatures = ", ".join(f"{name} {value:.1f} °C" for name, value in reading.temperatures_celsius.items())
    power = ", ".join(f"{name} {value:.2f} W" for name, value in reading.power_watts.items())
    throttled = "unknown" if reading.throttled is None else ", ".join(reading.throttled) or "no"
    parts: List[str] = [
        f"load {'unknown' if reading.load_average is None else reading.load_average}",
        f"clock {clocks or 'unknown'}",
        f"governor {governors or 'unknown'}",
        f"temperature {temperatures or 'unknown'}",
        f"throttled: {throttled}",
        f"power {power or 'unknown'}",
        f"mode {reading.power_mode or 'unknown'}",
        *(f"{name} {value}" for name, value in reading.facts.items()),
    ]
    return "; ".join(parts)
