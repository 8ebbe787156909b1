"""The machine that is measured on, and whether it is quiet enough to be measured on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from results import Machine

from edgeconv.benchmarks.agent.host import int8_instructions, read_host

__all__ = ["QUIET_CORES", "CpuWatch", "describe_machine", "foreign_cores_now"]

QUIET_CORES = 0.10
"""What other processes may take of a core, on average, before figures stop being worth anything."""

_IDLE, _IOWAIT, _GUEST = 3, 4, 8  # fields of /proc/stat; guest time is part of user time already
_PROBE_SECONDS = 3.0


class CpuWatch:
    """Cores that others take from now on: neither this process nor its children, which count once they have ended.

    What the host of a virtual machine steals counts.
    """

    def __init__(self) -> None:
        self._busy, self._own, self._clock = _busy_seconds(), _own_seconds(), time.monotonic()

    def foreign_cores(self) -> float:
        """Average since the watch began."""
        busy, own = _busy_seconds() - self._busy, _own_seconds() - self._own
        return max(0.0, busy - own) / (time.monotonic() - self._clock)


def foreign_cores_now() -> float:
    """Cores in use by others over the next seconds."""
    watch = CpuWatch()
    time.sleep(_PROBE_SECONDS)
    return watch.foreign_cores()


def describe_machine() -> Machine:
    """CPU, memory and system of this machine."""
    host = read_host()
    return Machine(
        cpu=host.cpu_model or "unknown",
        cpus=host.cpus,
        memory_gib=round((host.memory_bytes or 0) / 2**30, 1),
        int8_instructions=int8_instructions(host.cpu_flags),
        system=f"{host.system}, {host.machine}",
        python=host.python,
        governor=host.governor or "none visible",
    )


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_seconds() -> float:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    busy = sum(value for index, value in enumerate(fields[:_GUEST]) if index not in (_IDLE, _IOWAIT))
    return busy / os.sysconf("SC_CLK_TCK")
