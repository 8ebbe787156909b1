"""The device side of adb, spoken to by the real clients: Debian's (29) and Google's (36, in the adbutils wheel)."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.devices.emulate.adbd.auth import Authenticator, parse_public_key
from edgeconv.devices.emulate.adbd.files import DeviceFiles
from edgeconv.devices.emulate.adbd.protocol import AUTH, CNXN, MAX_DATA, OPEN, VERSION, Wire
from tests.devices.sshd import free_port
from tests.tools import need

pytestmark = pytest.mark.device
SECONDS = 20


@dataclasses.dataclass
class Client:
    """An adb binary with a server and a key of its own, and the device that it is connected to."""

    binary: str
    home: Path
    port: int
    serial: str
    root: Path  # the device's

    def __call__(self, *arguments: str, **options) -> subprocess.CompletedProcess[bytes]:
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "TMPDIR": str(self.home)}
        command = [self.binary, "-P", str(self.port), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, check=False, **options)

    def device(self, *arguments: str, **options) -> subprocess.CompletedProcess[bytes]:
        return self("-s", self.serial, *arguments, **options)

    def state(self) -> str:
        found = self.device("get-state")
        return (found.stdout or found.stderr).decode().strip()

    def connect(self, wanted: str = "device") -> None:
        """Wait until the device is there; a new key is "unauthorized" or "offline" for a moment."""
        self("connect", self.serial)
        deadline = time.monotonic() + SECONDS
        while wanted not in (found := self.state()):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


def find_clients() -> list[str]:
    spec = importlib.util.find_spec("adbutils")
    ours = [str(Path(spec.origin).parent / "binaries" / "adb")] if spec and spec.origin else []
    return ["adb", *ours]


def client_name(binary: str) -> str:
    return "google" if "/" in binary else "debian"


def start_device(root: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    (root / "data/local/tmp").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgeconv.devices.emulate.adbd", "--root", str(root), "--shell", "/bin/sh"]
    command += ["--writable", "/data/local/tmp", *options]
    device = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert device.stdout is not None
    return device, f"127.0.0.1:{device.stdout.readline().split()[-1]}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def end(device: subprocess.Popen[str]) -> None:
    device.kill()
    device.wait()
    assert device.stdout is not None
    device.stdout.close()


@pytest.fixture(scope="module", params=find_clients(), ids=client_name)
def client(request, tmp_path_factory) -> Iterator[Client]:
    need("adb")
    root = tmp_path_factory.mktemp("device")
    device, serial = start_device(root)
    found = Client(request.param, tmp_path_factory.mktemp("home"), free_port(), serial, root)
    found.connect()
    yield found
    found("kill-server")
    end(device)


def test_a_command_gets_its_input_and_gives_its_output_and_exit_code(client):
    done = client.device("shell", "cat; echo problem >&2; exit 9", input=b"hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"hello\n", b"problem\n")
    assert client.device("shell", "kill -9 $$").returncode == 137


def test_output_is_byte_exact_however_long(client):
    done = client.device("exec-out", "head -c 3000000 /dev/zero | tr '\\0' '\\r'; printf '\\n'")
    assert done.stdout == b"\r" * 3_000_000 + b"\n"


def test_folders_come_back_as_they_went(client, tmp_path):
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner/large").write_bytes(os.urandom(3 * 65536))  # ends with a full piece
    (source / "small").write_bytes(b"x")
    (source / "nothing").write_bytes(b"")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    assert client.device("push", str(source), "/data/local/tmp/tree").returncode == 0
    assert os.access(client.root / "data/local/tmp/tree/run", os.X_OK)
    assert client.device("pull", "/data/local/tmp/tree", str(tmp_path / "back")).returncode == 0
    assert contents(tmp_path / "back") == contents(source)
    listed = client.device("ls", "/data/local/tmp/tree").stdout.decode().splitlines()
    assert sorted(line.split()[-1] for line in listed) == [".", "..", "inner", "nothing", "run", "small"]


def test_a_phone_does_not_let_one_write_everywhere(client, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 200_000)
    done = client.device("push", str(tmp_path / "file"), "/system/file")
    assert done.returncode == 1
    assert b"Permission denied" in done.stdout + done.stderr
    done = client.device("pull", "/data/local/tmp/none", str(tmp_path / "none"))
    assert done.returncode == 1
    assert b"root in production builds" in client.device("root").stdout


def test_commands_run_side_by_side(client):
    found: dict[int, bytes] = {}

    def ask(number: int) -> None:
        found[number] = client.device("shell", f"sleep 0.2; echo {number}").stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"{number}\n".encode() for number in range(6)}


def test_a_command_whose_client_goes_away_is_hung_up(client, tmp_path):
    mark = tmp_path / "pid"
    command = [client.binary, "-P", str(client.port), "-s", client.serial, "shell", f"echo $$ > {mark}; exec sleep 60"]
    asking = subprocess.Popen(command, env={**os.environ, "HOME": str(client.home)}, stdin=subprocess.PIPE)
    deadline = time.monotonic() + SECONDS
    while not (mark.exists() and mark.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    asking.kill()
    asking.communicate()
    pid = int(mark.read_text())
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the command still ran")


def test_a_port_of_the_device_can_be_forwarded(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = free_port()
        client.device("forward", f"tcp:{here}", f"tcp:{listener.getsockname()[1]}")
        with socket.create_connection(("127.0.0.1", here), SECONDS) as caller:
            listener.settimeout(SECONDS)
            answering, _ = listener.accept()
            with answering:
                caller.sendall(b"ping")
                assert answering.recv(4) == b"ping"
                answering.sendall(b"pong")
                assert caller.recv(4) == b"pong"


def test_a_service_that_is_not_there_is_refused(client):
    assert client.device("reboot").returncode != 0
    assert client.state() == "device"


@pytest.mark.parametrize("binary", find_clients(), ids=client_name)
def test_a_device_that_did_not_allow_the_key_is_unauthorized(binary, tmp_path):
    need("adb")
    device, serial = start_device(tmp_path / "root", "--auth", "deny")
    client = Client(binary, tmp_path, free_port(), serial, tmp_path / "root")
    try:
        client.connect("unauthorized")
        assert b"unauthorized" in client.device("shell", "true").stderr
    finally:
        client("kill-server")
        end(device)


def test_who_has_not_signed_is_given_no_service(tmp_path):
    device, serial = start_device(tmp_path)
    try:
        with socket.create_connection(("127.0.0.1", int(serial.split(":")[1])), SECONDS) as connection:
            wire = Wire(connection)
            wire.send(CNXN, VERSION, MAX_DATA, b"host::\0")
            first = wire.receive()
            wire.send(AUTH, 2, 0, bytes(256))  # a signature by a key that nobody trusts
            second = wire.receive()
            assert (first.command, second.command) == (AUTH, AUTH)
            assert first.data != second.data
            mark = tmp_path / "ran"
            wire.send(OPEN, 1, 0, f"exec:touch {mark}\0".encode())
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                wire.receive()
            assert not mark.exists()
    finally:
        end(device)


def test_noise_ends_its_connection_and_not_the_device(tmp_path):
    device, serial = start_device(tmp_path)
    try:
        for noise in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\0" * 24, b"CNXN"):
            with socket.create_connection(("127.0.0.1", int(serial.split(":")[1])), SECONDS) as connection:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):  # it was not interested in the rest
                    assert connection.recv(100) == b""
        assert device.poll() is None
    finally:
        end(device)


def test_links_of_the_device_do_not_lead_out_of_it(tmp_path):
    (tmp_path / "sdcard").symlink_to("/storage/emulated")
    (tmp_path / "up").symlink_to("../../../../etc")
    (tmp_path / "loop").symlink_to("loop")
    files = DeviceFiles(str(tmp_path), None, ("/sdcard",))
    assert files.locate("/sdcard/x") == f"{tmp_path}/storage/emulated/x"
    assert files.locate("/up/passwd") == f"{tmp_path}/etc/passwd"
    assert files.locate("/a/../../../b") == f"{tmp_path}/b"
    assert files.locate("/sdcard", follow=False) == f"{tmp_path}/sdcard"
    with pytest.raises(OSError, match="symbolic links"):
        files.locate("/loop")
    with pytest.raises(PermissionError):
        files.place_for("/sdcard/../etc/passwd")
    assert files.names("/nowhere") == []


def test_a_signature_counts_only_for_its_token_and_a_key_that_was_accepted(tmp_path):
    need("adb")
    Client("adb", tmp_path, free_port(), "", tmp_path)("keygen", str(tmp_path / "key"))
    public = (tmp_path / "key.pub").read_bytes()
    modulus, exponent = parse_public_key(public)
    assert (modulus.bit_length(), exponent) == (2048, 65537)
    sign = ["openssl", "pkeyutl", "-sign", "-inkey", str(tmp_path / "key"), "-pkeyopt", "digest:sha1"]
    accepting, denying = Authenticator("accept"), Authenticator("deny")
    token = accepting.new_token()
    signature = subprocess.run(sign, input=token, capture_output=True, check=True).stdout
    assert not accepting.trusts(token, signature)
    assert accepting.offer(public)
    assert accepting.trusts(token, signature)
    assert not accepting.trusts(accepting.new_token(), signature)
    assert not denying.offer(public)
    assert not denying.trusts(token, signature)
