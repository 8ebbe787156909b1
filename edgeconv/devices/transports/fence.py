"""Marks around what a command says.

A login shell may greet, its start-up files may echo, the client has its own words: what lies between the marks is the
command's own, and without the last mark it did not come to its end.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable

__all__ = ["Fence", "Fenced"]

_SIGNAL_BASE = 128  # a shell's exit status of a command that a signal ended is this and the signal
_SIGNALS = 32


@dataclasses.dataclass(frozen=True)
class Fenced:
    """What was found: nothing `begun` when the first mark is missing, `returncode` None when the last one is."""

    begun: bool
    returncode: int | None
    stdout: bytes
    stderr: bytes


class Fence:
    """One command's marks, not to be guessed.

    Args:
        on_line: called with each line of the command's standard output when it comes through `hear`.
    """

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._mark = f"edgeconv-{secrets.token_hex(8)}"
        self._on_line = on_line
        self.group: int | None = None  # known as soon as the command has begun

    def wrap(self, script: str) -> str:
        """The POSIX shell `script`, which may `exit`, with the marks; who runs it leads its process group."""
        begin = f"printf '\\n%s %s\\n' {self._mark} $$; printf '\\n%s\\n' {self._mark} >&2"
        return f"{begin}\n(\n{script}\n)\nprintf '\\n%s %s\\n' {self._mark} $? >&2"

    def hear(self, line: bytes) -> None:
        """Take a line of standard output as it comes."""
        if self.group is not None:
            if self._on_line is not None:
                self._on_line(line.decode(errors="replace"))
        elif line.startswith(self._mark.encode() + b" "):
            self.group = _number(line.partition(b" ")[2])

    def find(self, stdout: bytes, stderr: bytes) -> Fenced:
        """Take the marks off."""
        mark = b"\n%s" % self._mark.encode()
        noise, found, said = stdout.partition(mark + b" ")
        if not found:
            return Fenced(False, None, noise, stderr)
        complaint = stderr.partition(mark + b"\n")[2]
        rest, ended, code = complaint.rpartition(mark + b" ")
        returncode = _number(code.partition(b"\n")[0]) if ended else None
        if returncode is not None and 0 < returncode - _SIGNAL_BASE < _SIGNALS:
            returncode = _SIGNAL_BASE - returncode
        return Fenced(True, returncode, said.partition(b"\n")[2], rest if ended else complaint)


def _number(text: bytes) -> int | None:
    return int(text) if text.strip().isdigit() else None
