"""Watches the device from a second process while the first one measures.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Dict, List, Optional, Type

from edgeconv.benchmarks.agent.host import has_virtual_clock
from edgeconv.benchmarks.agent.respawn import agent_command, agent_environment
from edgeconv.benchmarks.agent.state import Look, Sources, system_root
from edgeconv.benchmarks.agent.state.energy import counted_rails, energy_joules
from edgeconv.benchmarks.agent.state.rules import Limits, judge
from edgeconv.benchmarks.agent.usage import Usage, others_share
from edgeconv.records import DeviceState
from edgeconv.schema import SchemaError, from_dict

__all__ = ["Sampler", "device_state", "parse_looks"]

_START_SECONDS = 8.0
_STOP_SECONDS = 8.0
_POLL_SECONDS = 0.01
_NEVER_SECONDS = 1e6


class Sampler:
    """`with Sampler() as sampler: ... state = sampler.finish(usage, inferences)`.

    Entering waits for the first look, so that there is one from before the measurement; `finish` takes the last one.
    The second process ends with this one however this one ends.  When it cannot be started or dies, the looks that
    there are count, and the verdict says what is missing.

    Args:
        root: where /proc and /sys are looked for.
        interval_seconds: from look to look; where the clock is virtual there are only the first and the last.
        limits: what is still clean.
    """

    def __init__(
        self, root: Optional[Path] = None, interval_seconds: float = 1.0, limits: Optional[Limits] = None
    ) -> None:
        self._root = system_root() if root is None else root
        # Where time counts instructions, ours would be in the figures, and there is neither heat nor a neighbour.
        self._interval_seconds = _NEVER_SECONDS if has_virtual_clock(Sources(self._root)) else interval_seconds
        self._limits = limits or Limits()
        self._child: Optional[subprocess.Popen[bytes]] = None
        # A file, not a pipe: nobody in the measuring process has to empty it.
        self._output: Optional[IO[bytes]] = None

    def __enter__(self) -> Sampler:
        command = agent_command(
            "state", "--json", "--watch", str(self._interval_seconds), "--root", str(self._root.resolve())
        )
        try:
            self._output = _anonymous_file()
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=subprocess.DEVNULL,
                env=agent_environment(),
                start_new_session=True,
            )
        except OSError:
            return self
        deadline = time.monotonic() + _START_SECONDS
        while not self.looks() and self._child.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._stop(seconds=0.0)
        if self._output is not None:
            self._output.close()

    def looks(self) -> List[Look]:
        """The looks so far."""
        if self._output is None or self._output.closed:
            return []
        size = os.fstat(self._output.fileno()).st_size
        return parse_looks(os.pread(self._output.fileno(), size, 0).decode("utf-8", "replace"))

    def finish(self, usage: Usage, inferences: int) -> DeviceState:
        """Stop watching, and judge the span that `usage` is of and in which `inferences` were timed."""
        self._stop(_STOP_SECONDS)
        return device_state(self.looks(), usage, inferences, self._limits)

    def _stop(self, seconds: float) -> None:
        """Ask for the last look by closing its input; end it when it takes longer than `seconds`."""
        child = self._child
        if child is None:
            return
        if child.stdin is not None and not child.stdin.closed:
            child.stdin.close()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            try:
                child.wait(1.0)
            except subprocess.TimeoutExpired:
                return  # it sits in the kernel and ends when it comes out


def parse_looks(text: str) -> List[Look]:
    """The looks of ``state --watch --json``, one a line; a line that was cut off is left out."""
    looks = []
    for line in text.splitlines():
        try:
            looks.append(from_dict(Look, json.loads(line)))
        except (ValueError, SchemaError):
            continue
    return looks


def device_state(looks: List[Look], usage: Usage, inferences: int, limits: Limits) -> DeviceState:
    """What goes into a record, of the looks around a measurement."""
    verdict, reasons = judge(looks, usage, inferences, limits)
    readings = [look.reading for look in looks]
    energy = energy_joules(looks, usage.begin_ns, usage.end_ns)
    facts = _facts([reading.facts for reading in readings])
    if energy is not None:
        rails = next(reading.power_watts for reading in readings if reading.power_watts)
        facts["energy of"] = ", ".join(counted_rails(rails))
    return DeviceState(
        governors=next((reading.governors for reading in readings if reading.governors), {}),
        power_mode=next((reading.power_mode for reading in reversed(readings) if reading.power_mode), None),
        affinity=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        samples=[look.sample(looks[0].at_ns) for look in looks],
        others_cpu_share=others_share(usage),
        energy_joules=energy,
        verdict=verdict,
        reasons=reasons,
        facts=facts,
    )


def _facts(found: List[Dict[str, str]]) -> Dict[str, str]:
    """The last word on each, and the first one where that was another."""
    first: Dict[str, str] = {}
    last: Dict[str, str] = {}
    for facts in found:
        first = {**facts, **first}
        last = {**last, **facts}
    return {**last, **{f"{name} at start": value for name, value in first.items() if value != last[name]}}


def _anonymous_file() -> IO[bytes]:
    """In memory where the system can, for a device may have no writable folder."""
    try:
        return os.fdopen(os.memfd_create("edgeconv-state"), "w+b")
    except (AttributeError, OSError):
        return tempfile.TemporaryFile()
