"""This machine as a target."""

from __future__ import annotations

import math
import os
import platform
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgeconv.devices.transports.base import (
    SILENCE_SECONDS,
    Completed,
    PushProgress,
    TargetSystem,
    Transport,
    ignore_progress,
)
from edgeconv.devices.transports.exchange import exchange
from edgeconv.errors import ConnectionLostError, DeviceError
from edgeconv.files import user_folder

__all__ = ["LocalTransport", "open_local"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LocalTransport:
    """This machine: nothing is copied, commands run with this Python."""

    def __init__(self) -> None:
        self.python = [sys.executable]
        self.system = TargetSystem(
            machine=platform.machine(),
            kernel=platform.system(),
            bits=struct.calcsize("P") * 8,
            boot_id=_BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None,
            python_version=platform.python_version(),
        )
        self.folder = str(user_folder("XDG_CACHE_HOME", ".cache") / "local")
        self._directory = tempfile.TemporaryDirectory(prefix="edgeconv-bench-")
        self.workspace = self._directory.name

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_seconds: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """As a child process."""
        done = exchange(
            command,
            timeout_seconds=timeout_seconds,
            on_line=None if on_line is None else lambda line: on_line(line.decode(errors="replace")),
            silence_seconds=math.inf if on_line is None else SILENCE_SECONDS,
            directory=self.workspace,
            environment={**os.environ, **environment},
        )
        if done.silent:
            raise ConnectionLostError(f"{command[0]} has said nothing for {SILENCE_SECONDS:.0f} s.")
        return Completed(done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr)))

    def push(self, source: Path, *, progress: PushProgress = ignore_progress) -> str:
        """It is there already."""
        return str(source.resolve())

    def pull(self, source: str) -> bytes:
        """Read a file."""
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise DeviceError(f"{source} cannot be fetched: {error}.") from error

    def clean(self) -> None:
        """Nothing was copied, but a bundle's wheels may have been installed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the workspace."""
        self._directory.cleanup()


def open_local(rest: str) -> Transport:
    """`local:`, which takes nothing behind the colon."""
    if rest:
        raise DeviceError(f"local: takes nothing behind the colon, found {rest!r}.")
    return LocalTransport()
