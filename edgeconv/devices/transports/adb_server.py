"""An adb server of our own, so that the user's is never stopped, started or replaced by one of another version.

Runs share it: each holds a shared lock while it works, and the last one to let go ends the server.  A phone on USB is
the exception: only one server can have its USB interface, so where the user's own one has it, that one is asked,
without starting or stopping anything.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from edgeconv.devices.transports.exchange import Exchanged, exchange
from edgeconv.errors import DeviceError
from edgeconv.files import cache_directory

__all__ = ["OWN_PORT", "AdbServer", "find_adb", "users_server"]

OWN_PORT = 15037
_USERS_PORT = 5037
_START_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
_NOT_FOR_US = ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT", "ANDROID_SERIAL")
_INSTALL = "Install it: apt-get install adb, or Google's platform-tools (developer.android.com); or set $ADB to it."


def find_adb() -> str:
    """The adb binary: $ADB, on the PATH, or in the SDK of $ANDROID_HOME.

    Raises:
        DeviceError: there is none.
    """
    named = os.environ.get("ADB")
    sdks = [os.environ[name] for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT") if os.environ.get(name)]
    candidates = [named] if named else ["adb", *(str(Path(sdk) / "platform-tools" / "adb") for sdk in sdks)]
    found = next((path for path in map(shutil.which, candidates) if path), None)
    if found is None:
        raise DeviceError(f"adb: needs {named or 'adb'}, which is not there.", _INSTALL)
    return found


class AdbServer:
    """The server on `port`, ours to start and end unless `shared`.

    Args:
        adb: the binary.
        port: where it listens.
        home: whose ~/.android has the keys that the phone knows; the user's by default.
        shared: it is somebody else's: never started or ended.

    Raises:
        DeviceError: it cannot be started.
    """

    def __init__(self, adb: str, port: int = OWN_PORT, home: Path | None = None, shared: bool = False) -> None:
        self._adb, self.port = adb, port
        self.environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_US}
        if home is not None:
            self.environment["HOME"] = str(home)
        self._lock = None if shared else _lock(port)
        try:
            if self._lock is not None:
                self._start()
        except BaseException:
            self.close()
            raise

    def argv(self, *arguments: str) -> list[str]:
        """A command for it."""
        return [self._adb, "-P", str(self.port), *arguments]

    def ask(self, *arguments: str, timeout_seconds: float = _START_SECONDS) -> str:
        """What such a command says, standard error included; "" when it takes too long."""
        heard = self._exchange(*arguments, timeout_seconds=timeout_seconds)
        return (heard.stdout + heard.stderr).decode(errors="replace").strip()

    def devices(self) -> dict[str, str]:
        """State by serial number of the devices that it has."""
        return _listed(self.ask("devices"))

    def close(self) -> None:
        """End it if it is ours and no other run uses it."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(DeviceError):
                self._exchange("kill-server", timeout_seconds=_ANSWER_SECONDS)
        except BlockingIOError:  # another run has it
            pass
        finally:
            os.close(lock)

    def _start(self) -> None:
        heard = self._exchange("start-server", timeout_seconds=_START_SECONDS)
        if heard.returncode != 0:
            said = (heard.stdout + heard.stderr).decode(errors="replace").split("\n")
            raise DeviceError(
                f"adb cannot start a server on port {self.port}: {' '.join(line.strip('* ') for line in said)[:300]}.",
                f"Does another program listen there? See: ss -ltnp 'sport = :{self.port}'.",
            )

    def _exchange(self, *arguments: str, timeout_seconds: float) -> Exchanged:
        return exchange(self.argv(*arguments), timeout_seconds=timeout_seconds, environment=self.environment)


def users_server(adb: str, serial: str | None) -> int | None:
    """The port of the user's own adb server when it runs and has the device `serial` (any device for None).

    Raises:
        DeviceError: it is of another version than `adb`, which would end it.
    """
    named = os.environ.get("ANDROID_ADB_SERVER_PORT", "")
    port = int(named) if named.isdigit() else _USERS_PORT
    devices = _listed(_host_service(port, "host:devices") or "")
    if not devices or (serial is not None and serial not in devices):
        return None
    running = _host_service(port, "host:version") or ""
    said = exchange([adb, "version"], timeout_seconds=_ANSWER_SECONDS).stdout.decode(errors="replace")
    ours = re.search(r"version \d+\.\d+\.(\d+)", said)
    if ours is None or int(running or "0", 16) != int(ours.group(1)):
        raise DeviceError(
            f"The adb server on port {port} has {serial or 'the phone'}, and it is of another version than {adb}.",
            "Set $ADB to the adb that started it, or end it: adb kill-server.",
        )
    return port


def _host_service(port: int, service: str) -> str | None:
    """The answer of a running server, asked in its own protocol, for the client would start or replace one."""
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as connection:
            connection.sendall(f"{len(service):04x}{service}".encode())
            data = b""
            while piece := connection.recv(1 << 16):
                data += piece
    except OSError:
        return None
    return data[8:].decode(errors="replace") if data.startswith(b"OKAY") else None


def _listed(text: str) -> dict[str, str]:
    lines = (line.split("\t") for line in text.splitlines() if "\t" in line)
    return {fields[0]: fields[1].strip() for fields in lines}


def _lock(port: int) -> int:
    path = cache_directory("adb") / f"{port}.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return lock
        if time.monotonic() > deadline:  # whoever ends the server holds it alone, for a moment
            os.close(lock)
            raise DeviceError(f"{path} has been locked for {_START_SECONDS:.0f} s.", "Does an edgeconv hang?")
        time.sleep(0.05)
