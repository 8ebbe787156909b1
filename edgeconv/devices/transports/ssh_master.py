"""The one connection: an ssh that others speak through, and that ends with us, whatever becomes of us."""

from __future__ import annotations

import os
import re
import secrets
import select
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edgeconv.errors import DeviceError

__all__ = ["SshMaster", "remote_command"]

_CONNECT_SECONDS = 60.0  # a hardware key may want to be touched
_END_SECONDS = 3.0


def remote_command(script: str) -> str:
    """The command line that makes any login shell (bash, fish, csh, ...) hand `script` to a POSIX shell.

    What shells read differently inside single quotes is written as octal escapes, which `printf %b` undoes.
    """
    escaped = re.sub(r"[\\'!\n]", lambda found: f"\\0{ord(found.group()):03o}", script)
    return f"""exec /bin/sh -c 'eval "$(printf %b "$1")"' sh '{escaped}'"""


class SshMaster:
    """An ssh in the foreground with a script on the target that then waits for the end of its input.

    Its input is a pipe that only we hold: when we end, be it by SIGKILL, the script ends and so does the connection.
    """

    def __init__(self, command: Sequence[str], said: Path) -> None:
        """`command` is an argv up to the host's name; its standard error goes to the file `said`."""
        self._command, self._said = command, said
        self._mark = f"edgeconv-{secrets.token_hex(8)}"  # what a login shell says before the answer is not the answer
        self._process: subprocess.Popen[bytes] | None = None
        self._noise = ""

    def ask(self, script: str) -> str | None:
        """Connect and run `script`; its output, None when there was no connection.

        Raises:
            DeviceError: ssh cannot be started.
        """
        remote = f"printf '\\n%s\\n' {self._mark}\n{script}\nprintf '\\n%s\\n' {self._mark}\nexec cat >/dev/null"
        command = [*self._command, remote_command(remote)]
        try:
            with self._said.open("wb") as said:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
                )
        except OSError as error:
            raise DeviceError(f"ssh cannot be started: {error}.") from error
        return self._answer(time.monotonic() + _CONNECT_SECONDS)

    def said(self) -> str:
        """What ssh said, and what the target said instead of an answer."""
        return (self._said.read_text(errors="replace") if self._said.exists() else "") + self._noise

    def alive(self) -> bool:
        """Whether it still runs; it notices by itself, within half a minute, that the other side is gone."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _answer(self, deadline: float) -> str | None:
        stdout = self._process.stdout if self._process else None
        if stdout is None:
            return None
        heard = b""
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([stdout], [], [], left)[0]:
                break
            data = os.read(stdout.fileno(), 1 << 16)
            heard += data
            if not data:
                break
            around = heard.decode(errors="replace").split(f"\n{self._mark}\n")
            if len(around) == 3:
                return around[1]
        self._noise = heard.decode(errors="replace")
        return None
