"""The `shell:` and `exec:` services: a command, its streams, and in v2 its exit code."""

import os
import signal
import struct
import subprocess
import threading
from typing import IO, Any

from .protocol import Stream

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PACKET = struct.Struct("<BI")
_CHUNK = 32768


class ShellService:
    """Runs `command` with the device's shell; with no command, an interactive shell without a terminal."""

    def __init__(self, stream: Stream, shell: list[str], command: str, *, packets: bool, uid: int | None) -> None:
        self._stream = stream
        self._packets = packets  # protocol v2: each piece says which stream it is of
        self._writing = threading.Lock()
        identity: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        self._process = subprocess.Popen(
            [*shell, "-c", command] if command else shell,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if packets else subprocess.STDOUT,
            start_new_session=True,
            **identity,
        )

    def run(self) -> None:
        """Return when the command has ended and all it wrote is sent."""
        threading.Thread(target=self._feed, daemon=True).start()
        readers = [threading.Thread(target=self._drain, args=(self._process.stdout, _STDOUT), daemon=True)]
        if self._packets:
            readers.append(threading.Thread(target=self._drain, args=(self._process.stderr, _STDERR), daemon=True))
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = self._process.wait()
        if self._packets:
            self._stream.write(_PACKET.pack(_EXIT, 1) + bytes([code & 0xFF if code >= 0 else 128 - code]))

    def _drain(self, source: IO[bytes], identity: int) -> None:
        try:
            for piece in iter(lambda: os.read(source.fileno(), _CHUNK), b""):
                with self._writing:
                    self._stream.write(_PACKET.pack(identity, len(piece)) + piece if self._packets else piece)
        except OSError:
            self._hang_up()  # the client has gone away

    def _feed(self) -> None:
        """What the client types; when it goes away the command gets a hang-up, as on a phone."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 (it was opened as a pipe)
        while True:
            piece = self._next_input()
            if piece is None:
                break
            try:
                stdin.write(piece)
                stdin.flush()
                if not piece:
                    stdin.close()
                    break
            except (OSError, ValueError):
                break  # the command does not read any more
        self._stream.wait_closed()
        self._hang_up()

    def _next_input(self) -> bytes | None:
        """Some bytes, b"" for the end of the input, None when the stream is over."""
        if not self._packets:
            return self._stream.read_some() or None
        while True:
            header = self._stream.read(_PACKET.size)
            if not header:
                return None
            identity, length = _PACKET.unpack(header)
            data = self._stream.read(length)
            if identity == _CLOSE_STDIN:
                return b""
            if identity == _STDIN and data:
                return data

    def _hang_up(self) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGHUP)
            except ProcessLookupError:
                return
