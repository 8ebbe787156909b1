"""`requirements.lock`: which wheels, by hash, and for which machine.  pip reads it too.

    # edgeconv: machine=aarch64 python=3.11 glibc=2.34
    numpy==2.4.6 --hash=sha256:0ab0…  # numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.whl

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import List

from edgeconv.errors import BundleError

__all__ = ["LOCK_NAME", "LockedWheel", "WheelLock", "parse_lock", "read_lock"]

LOCK_NAME = "requirements.lock"
_TARGET = re.compile(r"# edgeconv: machine=(\w+) python=(\d+\.\d+) glibc=(\d+(?:\.\d+)+)$")
_WHEEL = re.compile(r"([A-Za-z0-9._-]+)==(\S+) --hash=sha256:([0-9a-f]{64})  # ([A-Za-z0-9][A-Za-z0-9._+!-]*\.whl)$")
_AGAIN = "Export the bundle again, or copy it again."


@dataclasses.dataclass(frozen=True)
class LockedWheel:
    """One wheel, beside the lock."""

    name: str
    version: str
    sha256: str
    filename: str


@dataclasses.dataclass(frozen=True)
class WheelLock:
    """Wheels and what they need: a machine as `uname -m` names it, "3.11", and at least that glibc ("2.34")."""

    machine: str
    python: str
    glibc: str
    wheels: List[LockedWheel]

    def text(self) -> str:
        """The file."""
        lines = [
            f"# Wheels for {self.machine}, Python {self.python}, glibc {self.glibc} or later.",
            f"# edgeconv: machine={self.machine} python={self.python} glibc={self.glibc}",
        ]
        lines += [f"{w.name}=={w.version} --hash=sha256:{w.sha256}  # {w.filename}" for w in self.wheels]
        return "\n".join(lines) + "\n"


def read_lock(directory: Path) -> WheelLock:
    """The lock of a directory of wheels.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    path = directory / LOCK_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{path} cannot be read: {error}.", "Make a bundle with wheels: edgeconv export --with-wheels."
        ) from error
    return parse_lock(text, str(path))


def parse_lock(text: str, path: str = LOCK_NAME) -> WheelLock:
    """The lock from its text; `path` is for messages.

    Raises:
        BundleError: a line is not one of ours, or the line that names the machine is missing.
    """
    target, wheels = None, []
    for number, line in enumerate(text.splitlines(), 1):
        wheel = _WHEEL.match(line)
        if wheel:
            wheels.append(LockedWheel(*wheel.groups()))
        elif line.startswith("#"):
            target = _TARGET.match(line) or target
        elif line.strip():
            raise BundleError(f"{path}, line {number}: {line[:80]!r} is no locked wheel.", _AGAIN)
    if target is None or not wheels:
        raise BundleError(f"{path} does not say what it is for, or locks nothing.", _AGAIN)
    return WheelLock(target.group(1), target.group(2), target.group(3), wheels)
