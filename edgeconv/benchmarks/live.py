"""What a running benchmark tells the terminals that watch it: one small JSON file a run, replaced whole.

The file is not forced to the disk, unlike everything else we write: it is worth nothing after a crash, and flushing the
disk once a second would disturb what is measured.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.files import user_folder
from edgeconv.schema import SchemaError, from_dict, to_json

__all__ = ["LiveRun", "LiveState", "is_running", "live_directory", "live_runs"]

_KEPT_SECONDS = 60.0  # how long a run that has ended can still be looked at
_SILENT_SECONDS = 600.0  # after which a run of another machine, whose processes we cannot see, counts as gone
_EVENT = ("done", "total", "artifact", "phase", "samples", "p50_ns", "temperature_celsius")
_OF_THE_ARTIFACT = ("phase", "samples", "p50_ns")  # an event about another artefact clears them


@dataclasses.dataclass(frozen=True)
class LiveState:
    """A benchmark as it stands; moments are seconds since 1970."""

    run_id: str
    model: str
    device: str
    target: str
    node: str
    pid: int
    pid_started: str  # tells the process from a later one of the same number; "" where the system does not tell
    started_seconds: float
    heartbeat_seconds: float
    done: int = 0  # steps: one artefact in one fresh process
    total: int | None = None
    artifact: str = ""
    phase: str = ""
    samples: int | None = None
    p50_ns: int | None = None
    temperature_celsius: float | None = None
    ended: str = ""  # "" while it runs, then "done" or "failed"

    @property
    def elapsed_seconds(self) -> float:
        """Since the start, up to the last word of a run that has ended."""
        return (self.heartbeat_seconds if self.ended else time.time()) - self.started_seconds


class LiveRun:
    """Tells those who watch how a run stands; a context manager around the run.

    A state that cannot be written (a full disk, no home) is not told: watching is no reason to end a measurement.

    Example: ``with LiveRun(run_id, model="vessels", device="host", target="local:") as live: live.update({...})``.
    """

    def __init__(self, run_id: str, *, model: str, device: str, target: str, directory: Path | None = None) -> None:
        now, pid = time.time(), os.getpid()
        self._path = (directory or live_directory()) / f"{run_id}.json"
        self._state = LiveState(run_id, model, device, target, platform.node(), pid, _pid_started(pid), now, now)

    def __enter__(self) -> LiveRun:
        live_runs(self._path.parent)  # clears away what other runs left
        self._write()
        return self

    def update(self, event: Mapping[str, Any]) -> None:
        """Take over what `event` tells: `done` and `total` steps, `artifact` (the one at work), its `phase`,
        `samples`, `p50_ns` and `temperature_celsius`.  Other keys, and values of another type, are left out: the
        agent of an older bundle may tell something else.
        """
        known = {name: event[name] for name in _EVENT if name in event}
        if known.get("artifact", self._state.artifact) != self._state.artifact:
            known = {name: _DEFAULTS[name] for name in _OF_THE_ARTIFACT} | known
        for name, value in known.items():
            with contextlib.suppress(SchemaError):
                self._state = from_dict(LiveState, {**dataclasses.asdict(self._state), name: value})
        self._write()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._state = dataclasses.replace(self._state, ended="done" if kind is None else "failed")
        self._write()

    def _write(self) -> None:
        self._state = dataclasses.replace(self._state, heartbeat_seconds=time.time())
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(to_json(self._state), encoding="utf-8")
            os.replace(temporary, self._path)


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(LiveState)}


def live_directory() -> Path:
    """`edgeconv/live` in `$XDG_STATE_HOME` (by default `~/.local/state`)."""
    return user_folder("XDG_STATE_HOME", ".local/state") / "live"


def live_runs(directory: Path | None = None) -> list[LiveState]:
    """The runs that are told of, the newest last: those at work and those that ended within the last minute.

    Files of runs that ended earlier, were killed earlier, or cannot be read are removed.
    """
    found = []
    for path in sorted((directory or live_directory()).glob("*.json")):
        state = _read(path)
        if state is not None and (is_running(state) or _age(state) < _KEPT_SECONDS):
            found.append(state)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return sorted(found, key=lambda state: (state.started_seconds, state.run_id))


def is_running(state: LiveState) -> bool:
    """Whether the run has not ended and its process is still there."""
    if state.ended:
        return False
    if state.node != platform.node():
        return _age(state) < _SILENT_SECONDS
    try:
        os.kill(state.pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return _pid_started(state.pid) == state.pid_started


def _age(state: LiveState) -> float:
    return time.time() - state.heartbeat_seconds


def _read(path: Path) -> LiveState | None:
    try:
        return from_dict(LiveState, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):  # SchemaError, JSONDecodeError and UnicodeDecodeError are ValueErrors
        return None


def _pid_started(pid: int) -> str:
    """When a process began, in clock ticks since the machine did (field 22 of /proc/PID/stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
