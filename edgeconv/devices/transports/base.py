"""What every way to a target offers.  A target is ``scheme:rest``; `local:` is this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["Completed", "Transport"]


@dataclasses.dataclass(frozen=True)
class Completed:
    """A command that ended; `returncode` is negative for a signal, None when it was ended for taking too long."""

    returncode: int | None
    stdout: str
    stderr: str


class Transport(Protocol):
    """A target that is reached.  Paths on it are strings."""

    python: list[str]  # the command that starts the target's Python, as found there
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
