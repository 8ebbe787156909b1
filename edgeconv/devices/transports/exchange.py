"""A child process, bounded in time: bytes fed to it, what it says collected, line by line where wanted."""

from __future__ import annotations

import dataclasses
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from edgeconv.errors import DeviceError

__all__ = ["Exchanged", "exchange"]

_READ_BYTES = 1 << 16
_TICK_SECONDS = 0.25
_DRAIN_SECONDS = 1.0  # for output of a process that has ended while another one still holds its pipes


@dataclasses.dataclass(frozen=True)
class Exchanged:
    """`returncode` is None when it was ended: for taking too long, or (`silent`) for saying nothing for too long."""

    returncode: int | None
    silent: bool
    stdout: bytes
    stderr: bytes


def exchange(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    feed: Iterable[bytes] | None = None,
    on_line: Callable[[bytes], None] | None = None,
    silence_seconds: float = math.inf,
    directory: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Exchanged:
    """Run `command` in a session of its own, which ends with it; standard input is `feed`, or empty.

    Args:
        command: an argv.
        timeout_seconds: ended after so long.
        feed: what to write to its standard input, piece by piece.
        on_line: called with each whole line of its standard output, without the line's end.
        silence_seconds: ended after so long without a line.
        directory: to run in.
        environment: its whole environment; ours by default.

    Raises:
        DeviceError: it cannot be started.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceError(f"{command[0]} cannot be started: {error}.") from error
    talk = _Talk(process, iter(feed or ()), on_line)
    try:
        silent = talk.hold(time.monotonic() + timeout_seconds, silence_seconds)
        over = process.poll() is None
    finally:
        talk.end()
    return Exchanged(None if over else process.returncode, silent, bytes(talk.stdout), bytes(talk.stderr))


class _Talk:
    def __init__(
        self, process: subprocess.Popen[bytes], feed: Iterator[bytes], on_line: Callable[[bytes], None] | None
    ) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self._process, self._feed, self._on_line = process, feed, on_line
        self._pending = memoryview(b"")
        self._told = 0  # bytes of stdout that were given to on_line
        self._selector = selectors.DefaultSelector()
        for stream, collected in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            if stream is not None:
                self._selector.register(stream, selectors.EVENT_READ, collected)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    def hold(self, deadline: float, silence_seconds: float) -> bool:
        """Until it ends or the time is over; True when it was silent for too long."""
        heard = time.monotonic()
        ended: float | None = None
        while self._selector.get_map():
            now = time.monotonic()
            if now >= deadline or (ended is not None and now >= ended + _DRAIN_SECONDS):
                break
            if now >= heard + silence_seconds:
                return True
            for key, _ in self._selector.select(min(_TICK_SECONDS, deadline - now)):
                if key.data is None:
                    self._write()
                elif self._read(key.fd, key.data):
                    heard = time.monotonic()
            if ended is None and self._process.poll() is not None:
                ended = time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        return False

    def end(self) -> None:
        """Kill what is left of its session, and let go of the pipes."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _read(self, descriptor: int, collected: bytearray) -> bool:
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            self._selector.unregister(descriptor)
            return False
        collected += data
        if collected is not self.stdout:
            return False
        lines = False
        while (end := self.stdout.find(b"\n", self._told)) >= 0:
            line = bytes(self.stdout[self._told : end])
            self._told, lines = end + 1, True
            if self._on_line is not None:
                self._on_line(line)
        return lines

    def _write(self) -> None:
        stdin = self._process.stdin
        if stdin is None:
            return
        try:
            if not self._pending:
                self._pending = memoryview(next(self._feed))
            self._pending = self._pending[os.write(stdin.fileno(), self._pending) :]
        except (StopIteration, BrokenPipeError):  # all is said, or nobody listens any more
            self._selector.unregister(stdin)
            with suppress(BrokenPipeError):
                stdin.close()
