"""The `sync:` service: push, pull, list and stat."""

import os
import stat
import struct
from collections.abc import Callable
from typing import BinaryIO

from .files import DeviceFiles
from .protocol import Stream

_MAX_PATH = 1024
_MAX_CHUNK = 65536
_STAT2 = struct.Struct("<4sIQQIIIIQqqq")
_REQUEST = struct.Struct("<4sI")
_EIO = 5


class SyncService:
    """Answers one client's requests until it quits."""

    def __init__(self, stream: Stream, files: DeviceFiles) -> None:
        self._stream, self._files = stream, files
        self._requests: dict[bytes, Callable[[str], bool]] = {
            b"STAT": self._stat,
            b"LST2": lambda path: self._send(self._stat2(b"LST2", path, follow=False)),
            b"STA2": lambda path: self._send(self._stat2(b"STA2", path, follow=True)),
            b"LIST": self._list,
            b"LIS2": self._list2,
            b"SEND": self._receive_file,
            b"RECV": self._send_file,
        }

    def run(self) -> None:
        """Serve; each request says whether the next one can follow."""
        while True:
            header = self._stream.read(_REQUEST.size)
            if not header:
                return
            command, length = _REQUEST.unpack(header)
            if command == b"QUIT":
                return
            request = self._requests.get(command)
            if request is None or length > _MAX_PATH:
                self._fail(f"unknown command {command!r} or path of {length} bytes")
                return
            if not request(self._stream.read(length).decode()):
                return

    def _send(self, data: bytes) -> bool:
        self._stream.write(data)
        return True

    def _fail(self, message: str) -> bool:
        """The client reads the message and closes."""
        words = message.encode()
        self._stream.write(_REQUEST.pack(b"FAIL", len(words)) + words)
        return False

    def _stat(self, path: str) -> bool:
        try:
            status = self._files.stat(path, follow=False)
        except OSError:
            return self._send(b"STAT" + struct.pack("<III", 0, 0, 0))
        return self._send(b"STAT" + _short(status))

    def _stat2(self, command: bytes, path: str, *, follow: bool) -> bytes:
        try:
            status = self._files.stat(path, follow=follow)
        except OSError as error:
            return _STAT2.pack(command, error.errno or _EIO, *[0] * 10)
        return _STAT2.pack(
            *(command, 0, status.st_dev, status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_gid),
            *(status.st_size, int(status.st_atime), int(status.st_mtime), int(status.st_ctime)),
        )

    def _list(self, path: str) -> bool:
        entries = []
        for name in self._files.names(path):
            try:
                status = self._files.stat(f"{path}/{name}", follow=False)
            except OSError:
                continue
            encoded = name.encode()
            entries.append(b"DENT" + _short(status) + struct.pack("<I", len(encoded)) + encoded)
        return self._send(b"".join(entries) + b"DONE" + bytes(16))

    def _list2(self, path: str) -> bool:
        entries = []
        for name in self._files.names(path):
            encoded = name.encode()
            entry = self._stat2(b"DNT2", f"{path}/{name}", follow=False)
            entries.append(entry + struct.pack("<I", len(encoded)) + encoded)
        return self._send(b"".join(entries) + b"DONE" + bytes(_STAT2.size))

    def _send_file(self, path: str) -> bool:
        try:
            with open(self._files.locate(path), "rb") as stream:
                # A message must be acknowledged before the next: the end goes with the last piece
                chunk = stream.read(_MAX_CHUNK)
                while len(chunk) == _MAX_CHUNK:
                    self._stream.write(_REQUEST.pack(b"DATA", len(chunk)) + chunk)
                    chunk = stream.read(_MAX_CHUNK)
        except BrokenPipeError:
            return False
        except OSError as error:
            return self._fail(f"open failed: {error.strerror}")
        last = _REQUEST.pack(b"DATA", len(chunk)) + chunk if chunk else b""
        return self._send(last + _REQUEST.pack(b"DONE", 0))

    def _receive_file(self, argument: str) -> bool:
        path, _, mode_word = argument.rpartition(",")
        mode = int(mode_word)
        place, failure = "", ""
        stream: BinaryIO | None = None
        try:
            place = self._files.place_for(path)
            stream = None if stat.S_ISLNK(mode) else open(place, "wb")  # noqa: SIM115
        except OSError as error:
            failure = f"couldn't create file: {error.strerror}"
        # The client sends all of the file before it reads our answer: it is taken even when it cannot be kept.
        link = b""
        while True:
            header = self._stream.read(_REQUEST.size)
            if not header:
                return False
            command, value = _REQUEST.unpack(header)
            if command == b"DONE":
                break
            if command != b"DATA" or value > _MAX_CHUNK:
                return self._fail("invalid data message")
            chunk = self._stream.read(value)
            try:
                link += chunk if stream is None else b""
                if stream is not None and not failure:
                    stream.write(chunk)
            except OSError as error:
                failure = f"write failed: {error.strerror}"
        try:
            if stream is not None:
                stream.close()
                os.chmod(place, mode & 0o777)
                os.utime(place, (value, value))
            elif not failure:
                os.symlink(link.rstrip(b"\0").decode(), place)
            if not failure:
                self._files.own(place)
        except OSError as error:
            failure = failure or f"write failed: {error.strerror}"
        return self._fail(failure) if failure else self._send(_REQUEST.pack(b"OKAY", 0))


def _short(status: os.stat_result) -> bytes:
    return struct.pack("<III", status.st_mode, min(status.st_size, 0xFFFFFFFF), int(status.st_mtime) & 0xFFFFFFFF)
