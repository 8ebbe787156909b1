"""How much of the processor this process had.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import dataclasses
import resource
import time
from typing import Optional

__all__ = ["Usage", "crowding", "read_usage"]

_MIN_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Usage:
    """Time that passed, processor time of all threads, and how often one was pushed off its core."""

    wall_ns: int
    cpu_ns: int
    involuntary_switches: int

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.wall_ns - earlier.wall_ns,
            self.cpu_ns - earlier.cpu_ns,
            self.involuntary_switches - earlier.involuntary_switches,
        )


def read_usage() -> Usage:
    """Since the process began."""
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return Usage(time.perf_counter_ns(), time.process_time_ns(), switches)


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
