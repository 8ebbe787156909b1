"""Processes that are to end: a signal takes its time on a busy machine."""

from __future__ import annotations

import time

from edgeconv.benchmarks.agent.job_watch import started_ticks

_SECONDS = 20.0


def assert_ends(pid: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while started_ticks(pid) is not None:
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.02)
