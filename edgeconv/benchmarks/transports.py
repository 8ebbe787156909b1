"""How files and commands get to a target and back.  A target is ``scheme:rest``; `local:` is this machine."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edgeconv.errors import DeviceError

__all__ = ["Completed", "LocalTransport", "Transport", "open_transport"]


@dataclasses.dataclass(frozen=True)
class Completed:
    """A command that ended; `returncode` is negative for a signal, None when it was ended for taking too long."""

    returncode: int | None
    stdout: str
    stderr: str


class Transport(Protocol):
    """A target that is reached.  Paths on it are strings."""

    python: str  # the interpreter that has the runtimes
    workspace: str  # an empty directory, removed by `close`

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], timeout_seconds: float) -> Completed:
        """Run a command in the workspace, with `environment` added to the target's own.

        Raises:
            DeviceError: the target cannot be reached.
        """
        ...

    def push(self, source: Path) -> str:
        """Make the directory `source` readable on the target; its path there."""
        ...

    def pull(self, source: str) -> bytes:
        """The contents of a file of the target.

        Raises:
            DeviceError: no such file, or the target cannot be reached.
        """
        ...

    def close(self) -> None:
        """Remove what was put on the target."""
        ...


class LocalTransport:
    """This machine: nothing is copied, commands run with this Python."""

    python = sys.executable

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="edgeconv-bench-")
        self.workspace = self._directory.name

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], timeout_seconds: float) -> Completed:
        """As a child process."""
        try:
            done = subprocess.run(
                command,
                cwd=self.workspace,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Completed(None, "", "")
        except OSError as error:
            raise DeviceError(f"{command[0]} cannot be started: {error}.") from error
        return Completed(done.returncode, done.stdout, done.stderr)

    def push(self, source: Path) -> str:
        """It is there already."""
        return str(source.resolve())

    def pull(self, source: str) -> bytes:
        """Read a file."""
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise DeviceError(f"{source} cannot be fetched: {error}.") from error

    def close(self) -> None:
        """Remove the workspace."""
        self._directory.cleanup()


def _open_local(rest: str) -> Transport:
    if rest:
        raise DeviceError(f"local: takes nothing behind the colon, found {rest!r}.")
    return LocalTransport()


# A new kind of target is one class and one line here.
_SCHEMES: dict[str, Callable[[str], Transport]] = {"local": _open_local}


def open_transport(target: str) -> Transport:
    """Reach a target.

    Raises:
        DeviceError: the scheme is unknown, or the target cannot be reached.
    """
    scheme, colon, rest = target.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise DeviceError(
            f"{target!r} is no target that this version can reach.",
            "Use local: for this machine. ssh:, adb: and emulated: come with a later version; until then copy the "
            "bundle to the device and run its agent.pyz there.",
        )
    return _SCHEMES[scheme](rest)
