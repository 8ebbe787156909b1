"""Where state is read from: small files under a root, and the system's tools, each bounded in time.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import List, Optional, Set

__all__ = ["Sources", "Stream", "system_root"]

_ROOT_VARIABLE = "EDGECONV_SYSROOT"
_TOOL_FOLDERS = ("usr/bin", "bin", "usr/sbin", "sbin", "usr/local/bin", "opt/vc/bin", "system/bin")
_TOOL_SECONDS = 1.5
_MOST_BYTES = 1 << 20


def system_root() -> Path:
    """Where /proc and /sys are looked for: /, or EDGECONV_SYSROOT, a folder that holds a copy of another system's."""
    return Path(os.environ.get(_ROOT_VARIABLE) or "/")


class Sources:
    """Files and tools of one system.  A tool that is missing or hangs is not asked again, nor a command that fails."""

    def __init__(self, root: Optional[Path] = None, tool_seconds: float = _TOOL_SECONDS) -> None:
        self.root = system_root() if root is None else root
        self._tool_seconds = tool_seconds
        self._given_up: Set[str] = set()

    def text(self, path: str) -> Optional[str]:
        """A small file without its trailing newline or NUL; None when absent, locked or empty."""
        try:
            return (self.root / path).read_bytes().decode("utf-8", "replace").strip("\0\n ") or None
        except (OSError, ValueError):
            return None

    def number(self, path: str, base: int = 10) -> Optional[int]:
        """A file that holds one whole number."""
        text = self.text(path)
        try:
            return int(text, base) if text else None
        except ValueError:
            return None

    def paths(self, pattern: str) -> List[str]:
        """The paths below the root that fit, sorted."""
        try:
            return sorted(str(path.relative_to(self.root)) for path in self.root.glob(pattern))
        except OSError:
            return []

    def find(self, tool: str) -> Optional[str]:
        """The full path of a tool of this system."""
        folders = [str(self.root / folder) for folder in _TOOL_FOLDERS]
        if self.root == Path("/"):
            folders = [os.environ.get("PATH", ""), *folders]
        return shutil.which(tool, path=os.pathsep.join(folders))

    def run(self, tool: str, *arguments: str) -> Optional[str]:
        """What a tool prints; None when it is missing, fails, prints nothing or does not end in time."""
        command = " ".join((tool, *arguments))
        if tool in self._given_up or command in self._given_up:
            return None
        stream = Stream.start(self, tool, *arguments)
        if stream is None:
            self._given_up.add(tool)
            return None
        output = stream.drain(self._tool_seconds)
        if output is None:
            self._given_up.add(command if stream.ended else tool)
        return output


class Stream:
    """A tool that runs beside us; it ends with `close`, or when it writes to us and we are gone."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._partial = b""
        self.ended = False

    @classmethod
    def start(cls, sources: Sources, tool: str, *arguments: str) -> Optional[Stream]:
        """Start a tool; None when it is missing or cannot be executed."""
        path = sources.find(tool)
        if path is None:
            return None
        try:
            child = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError:
            return None
        return cls(child)

    def drain(self, seconds: float) -> Optional[str]:
        """Everything until it ends; None when that takes longer than `seconds`, or it fails or says nothing."""
        deadline = time.monotonic() + seconds
        while not self.ended and len(self._partial) < _MOST_BYTES and time.monotonic() < deadline:
            self._read(max(deadline - time.monotonic(), 0.0))
        try:
            status = self._child.wait(max(deadline - time.monotonic(), 0.05)) if self.ended else None
        except subprocess.TimeoutExpired:
            status = None
        self.close()
        return self._partial.decode("utf-8", "replace") if status == 0 and self._partial.strip() else None

    def latest(self, seconds: float) -> Optional[str]:
        """The last whole line that it has printed; waits for `seconds` at most for the first one."""
        deadline = time.monotonic() + seconds
        self._read(0.0)
        while b"\n" not in self._partial and not self.ended and time.monotonic() < deadline:
            self._read(max(deadline - time.monotonic(), 0.0))
        lines, newline, rest = self._partial.rpartition(b"\n")
        if not newline:
            return None
        self._partial = rest
        return lines.rpartition(b"\n")[2].decode("utf-8", "replace")

    def close(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
            os.killpg(self._child.pid, signal.SIGKILL)
        if self._child.stdout:
            self._child.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it sits in the kernel: it must not hold us up
            self._child.wait(0.1)

    def _read(self, seconds: float) -> None:
        """Take what there is, waiting so long for the first of it."""
        stdout = self._child.stdout
        while stdout and not stdout.closed and not self.ended and len(self._partial) < _MOST_BYTES:
            ready, _, _ = select.select([stdout], [], [], seconds)
            if not ready:
                return
            data = os.read(stdout.fileno(), 1 << 16)
            self._partial += data
            self.ended = not data
            seconds = 0.0
