"""This machine as a target."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeconv.devices.transports.base import Completed, Transport
from edgeconv.errors import DeviceError

__all__ = ["LocalTransport", "open_local"]


class LocalTransport:
    """This machine: nothing is copied, commands run with this Python."""

    def __init__(self) -> None:
        self.python = [sys.executable]
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


def open_local(rest: str) -> Transport:
    """`local:`, which takes nothing behind the colon."""
    if rest:
        raise DeviceError(f"local: takes nothing behind the colon, found {rest!r}.")
    return LocalTransport()
