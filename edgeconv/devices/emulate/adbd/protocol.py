"""Messages of the transport protocol, and the streams that are multiplexed on one connection."""

import socket
import struct
import threading
from typing import NamedTuple

VERSION = 0x01000001  # from this version on messages carry no checksum
MAX_DATA = 1 << 20
_FIRST_MAX_DATA = 4096  # what a peer surely takes before it has said more
_HEADER = struct.Struct("<6I")


def command_id(name: bytes) -> int:
    """The number of a command of four letters."""
    return int.from_bytes(name, "little")


CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = map(command_id, (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE"))


class ProtocolError(Exception):
    """The peer sent what is no message of this protocol."""


class Message(NamedTuple):
    """One message; what the arguments mean depends on the command."""

    command: int
    first: int
    second: int
    data: bytes


class Wire:
    """Messages over a socket. Several threads may send, one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self.max_data = _FIRST_MAX_DATA
        self.checksums = True

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        """Send a message; OSError when the peer is gone."""
        checksum = sum(data) & 0xFFFFFFFF if self.checksums else 0
        header = _HEADER.pack(command, first, second, len(data), checksum, command ^ 0xFFFFFFFF)
        with self._sending:
            self._connection.sendall(header + data)

    def receive(self) -> Message:
        """The next message; EOFError at the end."""
        command, first, second, length, _checksum, magic = _HEADER.unpack(self._exactly(_HEADER.size))
        if magic != command ^ 0xFFFFFFFF or length > MAX_DATA:
            raise ProtocolError(f"message {command:08x} with {length} bytes and magic {magic:08x}")
        return Message(command, first, second, self._exactly(length))

    def _exactly(self, size: int) -> bytes:
        buffer = bytearray()
        while len(buffer) < size:
            piece = self._connection.recv(min(size - len(buffer), MAX_DATA))
            if not piece:
                raise EOFError
            buffer += piece
        return bytes(buffer)


class Stream:
    """One service's two-way stream of bytes. Either side may have one unacknowledged message under way."""

    def __init__(self, wire: Wire, local: int, remote: int) -> None:
        self._wire, self.local, self._remote = wire, local, remote
        self._changed = threading.Condition()
        self._inbox = bytearray()
        self._may_send = True
        self._closed = False

    def accept(self) -> None:
        """Tell the peer that the service is there."""
        self._wire.send(OKAY, self.local, self._remote)

    def refuse(self) -> None:
        """Tell the peer that there is no such service."""
        self._wire.send(CLSE, 0, self._remote)

    def write(self, data: bytes) -> None:
        """Send all of `data`; BrokenPipeError once the peer has closed the stream."""
        for start in range(0, len(data), self._wire.max_data):
            with self._changed:
                self._changed.wait_for(lambda: self._may_send or self._closed)
                if self._closed:
                    raise BrokenPipeError
                self._may_send = False
            self._wire.send(WRTE, self.local, self._remote, data[start : start + self._wire.max_data])

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; b"" when the stream ends before."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._inbox) >= size)
            return self._take(size) if len(self._inbox) >= size else b""

    def read_some(self) -> bytes:
        """What has come, at least one byte; b"" at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._inbox) > 0)
            return self._take(len(self._inbox))

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._inbox)[:size])
        del self._inbox[:size]
        return taken

    def wait_closed(self) -> None:
        """Return once the peer, or `close`, has closed the stream."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed)

    def close(self) -> None:
        """End the stream and tell the peer, once."""
        if self.end():
            self._wire.send(CLSE, self.local, self._remote)

    # What the connection does when messages for this stream arrive:

    def received(self, data: bytes) -> None:
        """The peer wrote."""
        with self._changed:
            self._inbox += data
            self._changed.notify_all()
        self._wire.send(OKAY, self.local, self._remote)

    def acknowledged(self) -> None:
        """The peer took what was written last."""
        with self._changed:
            self._may_send = True
            self._changed.notify_all()

    def end(self) -> bool:
        """The stream is over; whether it was not before."""
        with self._changed:
            was_open, self._closed = not self._closed, True
            self._changed.notify_all()
        return was_open
