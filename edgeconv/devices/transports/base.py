"""What every way to a target offers.  A target is ``scheme:rest``; `local:` is this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["SILENCE_SECONDS", "Completed", "PushProgress", "TargetSystem", "Transport", "ignore_progress"]

SILENCE_SECONDS = 120.0  # a command that reports line by line and says nothing for so long has lost its connection

PushProgress = Callable[[int, int], None]  # bytes sent, bytes to send


def ignore_progress(_sent: int, _total: int) -> None:
    """For those who do not watch a push."""


@dataclasses.dataclass(frozen=True)
class Completed:
    """A command that ended; `returncode` is negative for a signal, None when it was ended for taking too long."""

    returncode: int | None
    stdout: str
    stderr: str


@dataclasses.dataclass(frozen=True)
class TargetSystem:
    """What a target says of itself when it is reached; None where it does not say.

    `bits` is the size of a pointer of its programs, which can be 32 under a 64-bit kernel.  `python_version` is of the
    Python in `Transport.python`, or of the best one there that is too old for us.  `boot_id` changes with every boot.
    """

    machine: str
    kernel: str
    bits: int | None
    boot_id: str | None
    python_version: str | None
    android_abis: str | None = None


class Transport(Protocol):
    """A target that is reached.  Paths on it are strings."""

    python: list[str]  # the command that starts the target's Python, as found there; [] where there is none of use
    workspace: str  # an empty directory, removed by `close`
    folder: str  # our own folder, which lasts until `clean`; the workspace of a remote target is in it
    system: TargetSystem

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_seconds: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run a command in the workspace, with `environment` added to the target's own.

        `on_line` is called with each line of standard output as it comes; a command with it that says nothing for
        `SILENCE_SECONDS` counts as one whose connection dropped.

        Raises:
            ConnectionLostError: the connection dropped while it ran, or could not be made again.
            DeviceError: the target cannot be reached.
        """
        ...

    def push(self, source: Path, *, progress: PushProgress = ignore_progress) -> str:
        """Make the directory (or one file) `source` readable on the target; its path there.

        Files are sent by content: what the target has is not sent again, and what arrives is checked by its hash.

        Raises:
            DeviceError: no space, a folder that cannot be written, or the target cannot be reached.
        """
        ...

    def pull(self, source: str) -> bytes:
        """The contents of a file of the target.

        Raises:
            DeviceError: no such file, or the target cannot be reached.
        """
        ...

    def clean(self) -> None:
        """Remove `folder` with everything that was ever put on the target."""
        ...

    def close(self) -> None:
        """Remove the workspace and end the connection."""
        ...
