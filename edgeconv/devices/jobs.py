"""A long command of the agent on a target, which goes on when the connection drops and is found again."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from edgeconv.devices.transports import Completed, Transport
from edgeconv.devices.transports.patience import PATIENCE_SECONDS, patiently
from edgeconv.errors import DeviceError

__all__ = ["JobEnd", "Progress", "ignore_progress", "run_job"]

Progress = Callable[[Mapping[str, Any]], None]
_STOP_SECONDS = 30.0
_GRACE_SECONDS = 30.0  # beyond the job's own limit, for starting it and for its last word


def ignore_progress(_line: Mapping[str, Any]) -> None:
    """For those who do not watch a job."""


@dataclasses.dataclass(frozen=True)
class JobEnd:
    """How it ended: with an exit status (negative for a signal) and the end of its standard error, or why without."""

    returncode: int | None
    stderr: str
    reason: str = ""


def run_job(
    transport: Transport,
    agent: Sequence[str],
    arguments: Sequence[str],
    *,
    directory: str,
    environment: Mapping[str, str],
    timeout_seconds: float,
    on_progress: Progress = ignore_progress,
    patience_seconds: float = PATIENCE_SECONDS,
) -> JobEnd:
    """Run the agent with `arguments` on a target, detached; ended when we are interrupted or it takes too long.

    Args:
        transport: of the target.
        agent: the command that starts the agent there.
        arguments: of the agent.
        directory: on the target, not there yet: for the job's files.
        environment: added to the target's own.
        timeout_seconds: when it is ended; the target counts it too.
        on_progress: called with each line of JSON that it prints.
        patience_seconds: how long a dropped connection is tried again.

    Raises:
        ConnectionLostError: the target was out of reach for `patience_seconds`.
        DeviceError: the target cannot be used.
    """
    deadline = time.monotonic() + timeout_seconds + _GRACE_SECONDS
    where = ["--directory", directory]
    boot = ["--boot-id", transport.system.boot_id] if transport.system.boot_id else []
    start = [*agent, "job", "start", *where, *boot, f"--limit-seconds={timeout_seconds}", "--", *arguments]
    listener = _Listener(on_progress)

    def attend() -> Completed:
        left = max(1.0, deadline - time.monotonic())
        return transport.run(start, environment=environment, timeout_seconds=left, on_line=listener)

    try:
        done = patiently(attend, patience_seconds, lambda: listener.heard_at)
    except BaseException:
        _stop(transport, [*agent, "job", "stop", *where], environment)
        raise
    if done.returncode is None:
        _stop(transport, [*agent, "job", "stop", *where], environment)
        return JobEnd(None, done.stderr, f"it took longer than {timeout_seconds:.0f} s")
    return _end(listener.last, done, timeout_seconds)


class _Listener:
    """What `job start` tells, line by line."""

    def __init__(self, on_progress: Progress) -> None:
        self.heard_at = time.monotonic()
        self.last: dict[str, Any] = {}
        self._on_progress = on_progress

    def __call__(self, line: str) -> None:
        self.heard_at = time.monotonic()
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            return
        if isinstance(told, dict) and "state" in told:
            self.last = told
            if isinstance(told.get("progress"), dict):
                self._on_progress(told["progress"])


def _end(last: Mapping[str, Any], done: Completed, timeout_seconds: float) -> JobEnd:
    state = last.get("state")
    if state == "lost":
        return JobEnd(None, "", f"{last.get('reason')}")
    if state == "absent":
        return JobEnd(None, "", "its folder was removed while it ran")
    if state != "ended":  # the agent itself did not get so far
        return JobEnd(done.returncode, done.stderr)
    returncode, stderr = last.get("returncode"), f"{last.get('stderr', '')}"
    if last.get("overdue"):
        return JobEnd(None, stderr, f"it took longer than {timeout_seconds:.0f} s")
    if last.get("out_of_memory") and isinstance(returncode, int) and returncode < 0:
        return JobEnd(returncode, stderr, "the device ran out of memory and its kernel killed the agent")
    return JobEnd(returncode if isinstance(returncode, int) else None, stderr)


def _stop(transport: Transport, command: Sequence[str], environment: Mapping[str, str]) -> None:
    with suppress(DeviceError):  # out of reach: its own limit ends it
        transport.run(command, environment=environment, timeout_seconds=_STOP_SECONDS)
