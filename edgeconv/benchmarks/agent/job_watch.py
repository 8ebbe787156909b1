"""What the files of a detached job say, and the processes behind them.

Its directory has `stdout` and `stderr`; `job.json`, written when it has begun: the processes, when they were started,
the boot; and `status.json`, written by its supervisor when it has ended.  A job without a status whose supervisor is
gone is lost: killed together with it, or the device was started anew.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict, Optional

__all__ = [
    "STARTED_ANEW",
    "JobWatch",
    "boot_id",
    "killed_since",
    "oom_kills",
    "signal_group",
    "started_ticks",
    "write_json",
]

STARTED_ANEW = "the device was started anew while it ran"

_START_SECONDS = 30.0  # a slow board under load takes its time to fork
_TAIL_BYTES = 8192
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_VMSTAT = Path("/proc/vmstat")

_Json = Dict[str, Any]


class JobWatch:
    """A job in `directory`, seen by a process that need not have started it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._began = time.monotonic()
        self._offset = 0

    def last(self) -> Optional[_Json]:
        """How it ended: {"state": "ended"|"lost"|"absent", ...}; None while it runs.

        "ended" has `returncode` (negative for a signal), `overdue`, `out_of_memory` and the end of `stderr`; "lost" has
        a `reason`; "absent" was never started.
        """
        if not self._directory.is_dir():
            return {"state": "absent"}
        job = _read_json(self._directory / "job.json")
        gone = job is not None and not _alive(job["supervisor"], job["started_ticks"])
        status = _read_json(self._directory / "status.json")  # after the look at the process, which writes it last
        if status is not None:
            return {"state": "ended", "stderr": self._stderr(), **status}
        if job is not None and gone:
            return {"state": "lost", "reason": _why_lost(self._directory, job)}
        if job is None and time.monotonic() > self._began + _START_SECONDS:
            return {"state": "lost", "reason": f"it did not begin within {_START_SECONDS:.0f} s"}
        return None

    def progress(self) -> Optional[_Json]:
        """The latest line of JSON on its standard output; None where there is no new one."""
        try:
            with (self._directory / "stdout").open("rb") as stream:
                stream.seek(self._offset)
                whole, newline, _ = stream.read().rpartition(b"\n")
        except FileNotFoundError:
            return None
        self._offset += len(whole) + len(newline)
        found = [line for line in map(_parse, whole.splitlines()) if line is not None]
        return found[-1] if found else None

    def signal(self, number: int) -> None:
        """Send a signal to all its processes but the supervisor."""
        job = _read_json(self._directory / "job.json")
        if job is not None and _alive(job["supervisor"], job["started_ticks"]):
            signal_group(job["worker"], number)

    def _stderr(self) -> str:
        try:
            return (self._directory / "stderr").read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return ""


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a process group, or to its leader when it has not made the group yet."""
    for send in (os.killpg, os.kill):
        try:
            send(leader, number)
        except (ProcessLookupError, PermissionError):
            continue
        return


def started_ticks(pid: int) -> Optional[int]:
    """When a process was started, which tells it from a later one of the same number; None for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])


def boot_id() -> Optional[str]:
    """Another one after every boot; None where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return None


def oom_kills() -> Optional[int]:
    """How often the kernel has killed for want of memory since it was started; None where it does not say."""
    try:
        text = _VMSTAT.read_text(encoding="ascii")
    except OSError:
        return None
    found = [line.split()[1] for line in text.splitlines() if line.startswith("oom_kill ")]
    return int(found[0]) if found else None


def killed_since(before: Optional[int]) -> bool:
    """Whether the kernel has killed for want of memory since `oom_kills` said `before`."""
    now = oom_kills()
    return before is not None and now is not None and now > before


def write_json(path: Path, value: _Json) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    os.replace(str(temporary), str(path))


def _why_lost(directory: Path, job: _Json) -> str:
    if job["boot_id"] != boot_id():
        return STARTED_ANEW
    if killed_since(job["oom_kills"]):
        return "the device ran out of memory and its kernel killed it"
    if os.statvfs(str(directory)).f_bavail == 0:
        return "the device has no space left, so how it ended could not be written"
    return "it was killed from outside, supervisor and all"


def _alive(pid: int, ticks: Optional[int]) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return ticks is None or started_ticks(pid) == ticks


def _parse(line: bytes) -> Optional[_Json]:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _read_json(path: Path) -> Optional[_Json]:
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None
