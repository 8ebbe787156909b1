"""Connections of adb servers: who may come in, and which service each stream gets."""

import argparse
import contextlib
import shlex
import socket
import subprocess
import threading
import time
from typing import NamedTuple

from .auth import Authenticator
from .files import DeviceFiles
from .protocol import AUTH, CLSE, CNXN, MAX_DATA, OKAY, OPEN, VERSION, WRTE, ProtocolError, Stream, Wire
from .shell import ShellService
from .sync import SyncService

_FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
_AUTH_TOKEN, _AUTH_SIGNATURE, _AUTH_PUBLIC_KEY = 1, 2, 3
_CONNECT_SECONDS = 5.0
_REBOOT_SECONDS = 0.3  # for the network to take what was said


class Device(NamedTuple):
    """What all connections share. `shell` starts the device's shell, `reboot` is run for `adb reboot` ([]: refused)."""

    authenticator: Authenticator
    files: DeviceFiles
    shell: list[str]
    uid: int | None
    reboot: list[str]
    properties: dict[str, str]

    def banner(self) -> bytes:
        """What the device says about itself when it lets somebody in."""
        told = "".join(f"{name}={value};" for name, value in self.properties.items())
        return f"device::{told}features={_FEATURES}".encode()


class Connection:
    """One adb server's connection."""

    def __init__(self, connection: socket.socket, device: Device) -> None:
        self._socket, self._device = connection, device
        self._wire = Wire(connection)
        self._streams: dict[int, Stream] = {}
        self._next_stream = 1
        self._token = b""
        self._online = False
        self._peer_wants_checksums = True

    def serve(self) -> None:
        """Until the peer goes away or sends what is no message."""
        try:
            while True:
                message = self._wire.receive()
                if message.command == CNXN:
                    self._peer_wants_checksums = message.first < VERSION
                    self._wire.max_data = min(message.second, MAX_DATA)
                    self._ask_for_signature()
                elif message.command == AUTH:
                    self._authenticate(message.first, message.data)
                elif message.command == OPEN and self._online:
                    self._open(message.first, message.data.rstrip(b"\0").decode())
                elif self._online:
                    self._dispatch(message.command, message.first, message.second, message.data)
        except (EOFError, OSError, ProtocolError, UnicodeDecodeError):
            return
        finally:
            for stream in list(self._streams.values()):
                stream.end()
            self._socket.close()

    def _ask_for_signature(self) -> None:
        self._token = self._device.authenticator.new_token()
        self._wire.send(AUTH, _AUTH_TOKEN, 0, self._token)

    def _authenticate(self, kind: int, data: bytes) -> None:
        if kind == _AUTH_SIGNATURE and not self._device.authenticator.trusts(self._token, data):
            self._ask_for_signature()
        elif kind == _AUTH_SIGNATURE or (kind == _AUTH_PUBLIC_KEY and self._device.authenticator.offer(data)):
            self._wire.send(CNXN, VERSION, MAX_DATA, self._device.banner())
            self._wire.checksums = self._peer_wants_checksums
            self._online = True

    def _open(self, remote: int, service: str) -> None:
        stream = Stream(self._wire, self._next_stream, remote)
        self._next_stream += 1
        self._streams[stream.local] = stream
        threading.Thread(target=self._serve_stream, args=(stream, service), daemon=True).start()

    def _dispatch(self, command: int, remote: int, local: int, data: bytes) -> None:
        stream = self._streams.get(local)
        if stream is None:
            if command == WRTE:
                self._wire.send(CLSE, 0, remote)
        elif command == WRTE:
            stream.received(data)
        elif command == OKAY:
            stream.acknowledged()
        elif command == CLSE:
            self._streams.pop(local, None)
            stream.close()

    def _serve_stream(self, stream: Stream, service: str) -> None:
        # OSError: the peer has closed the stream or gone away, or the command cannot be started
        with contextlib.suppress(OSError):
            if not self._run_service(stream, service):
                stream.end()
                stream.refuse()
        with contextlib.suppress(OSError):
            stream.close()
        self._streams.pop(stream.local, None)

    def _run_service(self, stream: Stream, service: str) -> bool:
        """Run it to its end; whether there is such a service."""
        kind, _, argument = service.partition(":")
        name, *options = kind.split(",")
        device = self._device
        if name in ("shell", "exec"):
            stream.accept()
            ShellService(stream, device.shell, argument, packets="v2" in options, uid=device.uid).run()
        elif name == "sync":
            stream.accept()
            SyncService(stream, device.files).run()
        elif name == "tcp" and argument.rpartition(":")[2].isdigit():
            with socket.create_connection(("127.0.0.1", int(argument.rpartition(":")[2])), _CONNECT_SECONDS) as target:
                stream.accept()
                _forward(stream, target)
        elif name == "root":
            stream.accept()
            stream.write(b"adbd cannot run as root in production builds\n")
        elif name == "reboot" and device.reboot:
            stream.accept()
            stream.close()
            self._socket.shutdown(socket.SHUT_RDWR)  # as a cable that is unplugged; a reset machine says nothing
            time.sleep(_REBOOT_SECONDS)
            subprocess.run(device.reboot, check=False)
        else:
            return False
        return True


def _forward(stream: Stream, target: socket.socket) -> None:
    target.settimeout(None)

    def to_target() -> None:
        try:
            for piece in iter(stream.read_some, b""):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    threading.Thread(target=to_target, daemon=True).start()
    for piece in iter(lambda: target.recv(65536), b""):
        stream.write(piece)


def main(arguments: list[str]) -> None:
    """Listen for ever; prints the port once it does."""
    parser = argparse.ArgumentParser(prog="adbd")
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--root", required=True, help="folder that is the device's root")
    parser.add_argument("--shell", required=True, help="command that starts the device's shell; -c COMMAND is added")
    parser.add_argument("--auth", choices=("accept", "deny"), default="accept", help="what the device's user does")
    parser.add_argument("--uid", type=int, help="user that commands run as and files belong to")
    parser.add_argument("--reboot", default="", help="command that reboots the device")
    parser.add_argument("--writable", action="append", default=[], help="folder that adb may write; repeat for several")
    parser.add_argument("--property", action="append", default=[], help="NAME=VALUE that the device tells of itself")
    chosen = parser.parse_args(arguments)
    device = Device(
        Authenticator(chosen.auth),
        DeviceFiles(chosen.root, chosen.uid, tuple(chosen.writable)),
        shlex.split(chosen.shell),
        chosen.uid,
        shlex.split(chosen.reboot),
        dict(item.split("=", 1) for item in chosen.property),
    )
    with socket.create_server((chosen.listen, chosen.port)) as listener:
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Connection(connection, device).serve, daemon=True).start()
