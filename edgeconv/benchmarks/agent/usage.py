"""How much of the processor this process had, and how much the others.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import time
from pathlib import Path
from typing import List, Optional, Tuple

__all__ = ["Usage", "crowding", "others_share", "parse_processor_times", "read_usage"]

_MIN_SHARE = 0.8
_LEAST_TICKS = 10
_STAT = Path("/proc/stat")
# The columns of /proc/stat in order: user nice system idle iowait irq softirq steal; guest time is in user already.
_COLUMNS, _IDLE, _IOWAIT = 8, 3, 4


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of a span: time that passed, processor time of all threads and of children that have ended, how often a thread
    was pushed off its core; of the whole machine, the time that its processors worked and the time that they had.

    `end_ns` is of the monotonic clock that all processes share.  None: the system does not tell.
    """

    wall_ns: int
    cpu_ns: int
    involuntary_switches: int
    busy_ticks: Optional[int] = None
    all_ticks: Optional[int] = None
    end_ns: int = 0

    @property
    def begin_ns(self) -> int:
        """When the span began."""
        return self.end_ns - self.wall_ns

    def __sub__(self, earlier: Usage) -> Usage:
        return dataclasses.replace(
            self,
            wall_ns=self.wall_ns - earlier.wall_ns,
            cpu_ns=self.cpu_ns - earlier.cpu_ns,
            involuntary_switches=self.involuntary_switches - earlier.involuntary_switches,
            busy_ticks=_difference(self.busy_ticks, earlier.busy_ticks),
            all_ticks=_difference(self.all_ticks, earlier.all_ticks),
        )


def read_usage(stat: Path = _STAT) -> Usage:
    """Since the process began; of the machine, since it was started."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        busy_ticks, all_ticks = parse_processor_times(stat.read_text(encoding="ascii", errors="replace"))
    except OSError:  # Android hides it from some users
        busy_ticks = all_ticks = None
    now = time.monotonic_ns()
    return Usage(
        wall_ns=now,
        cpu_ns=time.process_time_ns() + int((children.ru_utime + children.ru_stime) * 1e9),
        involuntary_switches=own.ru_nivcsw,
        busy_ticks=busy_ticks,
        all_ticks=all_ticks,
        end_ns=now,
    )


def parse_processor_times(text: str) -> Tuple[Optional[int], Optional[int]]:
    """(busy, all) ticks of all processors together, of the first line of /proc/stat; stolen time counts as busy."""
    words = text.partition("\n")[0].split()
    columns: List[int] = [int(word) for word in words[1 : 1 + _COLUMNS] if word.isdecimal()]
    if not words or words[0] != "cpu" or len(columns) <= _IOWAIT:
        return None, None
    return sum(columns) - columns[_IDLE] - columns[_IOWAIT], sum(columns)


def others_share(usage: Usage) -> Optional[float]:
    """The part of the machine's processor time that other processes had, 0 to 1; None where it is not told.

    The system counts in ticks (10 ms mostly), so a span needs some ten of them to say anything.
    """
    if usage.busy_ticks is None or not usage.all_ticks or usage.all_ticks < _LEAST_TICKS:
        return None
    own_ticks = usage.cpu_ns / 1e9 * os.sysconf("SC_CLK_TCK")
    return min(max((usage.busy_ticks - own_ticks) / usage.all_ticks, 0.0), 1.0)


def crowding(usage: Usage, inferences: int) -> Optional[str]:
    """Why other processes have made even the median inference slower, in words; None when they have not.

    A share below a full core does no harm by itself: short inferences fit between two interruptions, and the median is
    that of undisturbed ones as long as fewer than half were interrupted.
    """
    share = usage.cpu_ns / max(usage.wall_ns, 1)
    if share >= _MIN_SHARE or 2 * usage.involuntary_switches < inferences:
        return None
    return (
        f"the machine was busy: this process had {share:.0%} of a core and was pushed off it "
        f"{usage.involuntary_switches} times in {inferences} inferences"
    )


def _difference(later: Optional[int], earlier: Optional[int]) -> Optional[int]:
    return None if later is None or earlier is None else later - earlier
