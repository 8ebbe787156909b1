"""``adb:SERIAL``, ``adb:HOST:PORT`` and ``adb:`` (the only one) by the adb binary."""

from __future__ import annotations

import re
import time
from pathlib import Path

from edgeconv.devices.transports.adb_problems import adb_problem
from edgeconv.devices.transports.adb_server import OWN_PORT, AdbServer, find_adb, users_server
from edgeconv.devices.transports.base import Transport
from edgeconv.devices.transports.exchange import Exchanged
from edgeconv.devices.transports.hello import hello_script, parse_hello
from edgeconv.devices.transports.shell import SHORT_SECONDS, ShellTransport
from edgeconv.errors import ConnectionLostError, DeviceError

__all__ = ["AdbTransport", "open_adb"]

_ROOT = "/data/local/tmp/edgeconv"
_READY = "device"
_READY_SECONDS = 10.0  # a device over the network is "unauthorized" or "offline" for a moment before it is there
_SEEN_SECONDS = 3.0  # what is plugged in is seen by a server that has just been started
_POLL_SECONDS = 0.2
_NETWORK = re.compile(r"(?:[^:\s]+|\[[0-9a-fA-F:.%]+\]):[0-9]+")


class AdbTransport(ShellTransport):
    """An Android device.

    Args:
        serial: as `adb devices` shows it, or host:port for one on the network; "" for the only one.
        adb: the binary; looked for by default.
        server_port: of the adb server, which is ours to start and end.  By default one of our own, or the user's when
            that one has the device already.
        home: whose ~/.android has the keys that the device knows; the user's by default.

    Raises:
        DeviceError: it cannot be reached; see `adb_problems`.
    """

    def __init__(
        self, serial: str, adb: str | None = None, server_port: int | None = None, home: Path | None = None
    ) -> None:
        super().__init__(f"adb:{serial}")
        binary = adb or find_adb()
        self._network = _NETWORK.fullmatch(serial) is not None
        theirs = users_server(binary, serial or None) if server_port is None and not self._network else None
        self._server = AdbServer(binary, theirs or server_port or OWN_PORT, home, shared=theirs is not None)
        self._client_environment = self._server.environment
        self._serial = serial
        self.open()

    def _greet(self) -> None:
        state = self._wait_until_ready()
        if state != _READY:
            raise adb_problem(self._where, state, self._server.devices(), again=self._worked)
        if not self._serial:
            self._serial = next(name for name, state in self._server.devices().items() if state == _READY)
        features = self._server.ask("-s", self._serial, "features", timeout_seconds=SHORT_SECONDS)
        if "shell_v2" not in features.split():
            raise DeviceError(f"{self._where}: its adb tells no exit status.", "Android 7 or later is needed.")
        found = self._talk(hello_script(_ROOT, self._run_name), SHORT_SECONDS)
        self._meet(parse_hello(self._where, self._run_name, found.stdout.decode(errors="replace")))

    def _connected(self) -> bool:
        return self._state() == _READY

    def _disconnect(self) -> None:
        self._server.close()

    def _argv(self, script: str) -> list[str]:
        return self._server.argv("-s", self._serial, "shell", script)

    def _refusal(self, heard: Exchanged) -> DeviceError:
        said = (heard.stderr + b"\n" + heard.stdout).decode(errors="replace")
        if not said.strip():  # the client just ends when the connection goes before the shell has begun
            return ConnectionLostError(f"The connection to {self._where} dropped.")
        return adb_problem(self._where, said, self._server.devices(), again=True)

    def _environment(self) -> dict[str, str]:
        return {"TMPDIR": self.workspace}  # Android has no /tmp

    def _wait_until_ready(self) -> str:
        began = time.monotonic()
        said = self._state()
        if self._network and said != _READY:  # an entry that has gone stale stays offline until it is removed
            self._server.ask("disconnect", self._serial)
            said = self._server.ask("connect", self._serial)
            if "authenticate" not in said and "connected to" not in said:
                return said
            said = self._state()
        while said != _READY and time.monotonic() < began + _patience(said):
            time.sleep(_POLL_SECONDS)
            said = self._state()
        return said

    def _state(self) -> str:
        which = ("-s", self._serial) if self._serial else ()
        return self._server.ask(*which, "get-state", timeout_seconds=SHORT_SECONDS)


def _patience(said: str) -> float:
    """How long to wait for a device in the state that adb `said`: its owner may be about to allow us."""
    if "more than one" in said or "no permissions" in said:
        return 0.0
    return _READY_SECONDS if "unauthorized" in said or "offline" in said else _SEEN_SECONDS


def open_adb(rest: str) -> Transport:
    """``adb:SERIAL``, ``adb:HOST:PORT`` or ``adb:``.

    Raises:
        DeviceError: that is not a serial number, or the device cannot be reached.
    """
    if rest.startswith("-") or re.search(r"[\s\0-\x1f/]", rest):
        raise DeviceError(
            f"adb:{rest} names no device.", "Write adb:SERIAL, as `adb devices` shows it, or adb:HOST:PORT."
        )
    return AdbTransport(rest)
