"""The real adb client against our adbd."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edgeconv.benchmarks.run import RunSettings, run_benchmark
from edgeconv.bundles import load_bundle
from edgeconv.devices.transports import open_transport
from edgeconv.devices.transports.adb import AdbTransport
from edgeconv.devices.transports.adb_server import AdbServer
from edgeconv.errors import ConnectionLostError, DeviceError
from tests.devices.adb_device import AdbDevice
from tests.devices.sshd import free_port
from tests.tools import need

pytestmark = pytest.mark.device

QUICK = {"environment": {}, "timeout_seconds": 30}


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """An adb of the test's own: keys, lock file and the port of its server are nobody else's."""
    need("adb")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("edgeconv.devices.transports.adb.OWN_PORT", free_port())
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))


@contextmanager
def switched_on(directory, **options):
    device = AdbDevice(directory, **options)
    device.start()
    try:
        yield device
    finally:
        device.stop()


@pytest.fixture
def device(adb, tmp_path):
    with switched_on(tmp_path / "device") as device:
        yield device


@pytest.fixture
def target(device):
    with closing(open_transport(device.target)) as transport:
        yield transport


def sh(target, script, **options):
    return target.run(["sh", "-c", script], **{**QUICK, **options})


def server_port(tmp_path):
    """The port of the server of our own that runs; None when none does."""
    ports = [int(path.stem) for path in (tmp_path / "cache" / "edgeconv" / "adb").glob("*.lock")]
    found = subprocess.run(["pgrep", "-af", "adb .*fork-server"], capture_output=True, text=True, check=False).stdout
    return next((port for port in ports if f":{port} " in found), None)


def test_a_command_runs_in_the_workspace_with_its_environment_and_words_unharmed(target):
    done = target.run(
        [
            "sh",
            "-c",
            'pwd; printf "%s|" "$GREETING" "$TMPDIR" "$@"; echo why >&2; exit 255',
            "sh",
            "it's",
            "$HOME *",
            "ä\n",
        ],
        environment={"GREETING": "two  words & 'quotes'"},
        timeout_seconds=30,
    )
    workspace = target.workspace
    assert workspace.startswith("/data/local/tmp/edgeconv/runs/")
    assert done.stdout == f"{workspace}\ntwo  words & 'quotes'|{workspace}|it's|$HOME *|ä\n|"
    assert (done.returncode, done.stderr) == (255, "why\n")
    assert sh(target, "kill -KILL $$").returncode == -9


def test_the_target_tells_what_it_is(target):
    assert target.system.machine == os.uname().machine
    assert target.system.bits == 64
    assert target.system.android_abis is None, "there is no getprop"
    assert target.run([*target.python, "-c", "print(6 * 7)"], **QUICK).stdout == "42\n"


def test_what_android_says_of_its_programs_is_read(adb, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "getprop").write_text('#!/bin/sh\n[ "$1" = ro.product.cpu.abilist64 ] && echo "$ABIS" || exit 1\n')
    (tools / "getprop").chmod(0o755)
    with switched_on(tmp_path / "device", tools=tools) as device, closing(open_transport(device.target)) as transport:
        assert transport.system.android_abis == ""


def test_a_device_without_python_has_none(adb, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", *(f"python3.{minor}" for minor in range(8, 15))):
        (tools / name).write_text("#!/bin/sh\necho 'Python 3.7.9'\n")
        (tools / name).chmod(0o755)
    with switched_on(tmp_path / "device", tools=tools) as device, closing(open_transport(device.target)) as transport:
        assert transport.python == []
        assert transport.system.python_version == "3.7.9"


def test_a_command_that_takes_too_long_is_ended_there_too(target):
    done = sh(target, "echo begun; sleep 300 & echo $! >pid; sleep 300", timeout_seconds=2)
    assert (done.returncode, done.stdout) == (None, "begun\n")
    pid = target.pull(f"{target.workspace}/pid").decode().strip()
    assert "sleep" not in sh(target, f"cat /proc/{pid}/cmdline || true").stdout


def test_files_go_there_and_back_byte_for_byte_and_only_once(target, device, tmp_path):
    source = tmp_path / "source"
    (source / "sub folder").mkdir(parents=True)
    (source / "sub folder" / "it's").write_bytes(bytes(range(256)) * 999)
    (source / "big").write_bytes(random.Random(0).randbytes(9 << 20))
    sent = []
    there = target.push(source, progress=lambda done, total: sent.append(done))
    assert sent[-1] == 256 * 999 + (9 << 20)
    assert target.pull(f"{there}/big") == (source / "big").read_bytes()
    assert target.pull(f"{there}/sub folder/it's") == (source / "sub folder" / "it's").read_bytes()
    sent.clear()
    assert target.push(source, progress=lambda done, total: sent.append(done)) == there
    assert sent == []
    target.clean()
    assert list(device.data.iterdir()) == []


def test_close_leaves_no_workspace_and_no_server(device, tmp_path):
    transport = open_transport(device.target)
    assert server_port(tmp_path) is not None
    transport.close()
    assert list((device.data / "edgeconv" / "runs").iterdir()) == []
    deadline = time.monotonic() + 10
    while server_port(tmp_path) is not None:
        assert time.monotonic() < deadline, "the server outlives us"
        time.sleep(0.05)


def test_several_devices_at_once_share_a_server_that_the_last_one_ends(device, tmp_path):
    with switched_on(tmp_path / "other") as other, closing(open_transport(other.target)) as second:
        first = open_transport(device.target)
        (device.data / "which").write_text("first")
        (other.data / "which").write_text("second")
        answers = {}

        def ask(name, transport):
            answers[name] = sh(transport, "sleep 0.2; cat /data/local/tmp/which").stdout

        threads = [threading.Thread(target=ask, args=pair) for pair in (("first", first), ("second", second))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {"first": "first", "second": "second"}
        first.close()
        assert sh(second, "echo still here").stdout == "still here\n"


def test_the_users_own_server_is_left_alone(device, tmp_path, monkeypatch):
    users = int(os.environ["ANDROID_ADB_SERVER_PORT"])
    subprocess.run(["adb", "-P", str(users), "start-server"], check=True, capture_output=True, timeout=60)
    try:
        before = subprocess.run(["pgrep", "-f", f"adb .*:{users} "], capture_output=True, check=True).stdout
        with closing(open_transport(device.target)) as transport:
            assert sh(transport, "echo here").stdout == "here\n"
        assert subprocess.run(["pgrep", "-f", f"adb .*:{users} "], capture_output=True, check=True).stdout == before
        listed = subprocess.run(["adb", "-P", str(users), "devices"], capture_output=True, text=True, check=True).stdout
        assert device.serial not in listed
    finally:
        subprocess.run(["adb", "-P", str(users), "kill-server"], check=False, capture_output=True, timeout=60)


def test_a_device_that_the_users_server_has_is_reached_through_it(device, tmp_path):
    """As a phone on USB, which only one server can have."""
    users = int(os.environ["ANDROID_ADB_SERVER_PORT"])
    subprocess.run(["adb", "-P", str(users), "connect", device.serial], check=True, capture_output=True, timeout=60)
    try:
        deadline = time.monotonic() + 10
        while (
            "device"
            not in subprocess.run(
                ["adb", "-P", str(users), "get-state"], capture_output=True, text=True, check=False
            ).stdout
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with closing(open_transport("adb:")) as transport:
            assert sh(transport, "echo here").stdout == "here\n"
            assert server_port(tmp_path) is None
        state = subprocess.run(["adb", "-P", str(users), "get-state"], capture_output=True, text=True, check=True)
        assert state.stdout == "device\n"
    finally:
        subprocess.run(["adb", "-P", str(users), "kill-server"], check=False, capture_output=True, timeout=60)


def refusal(target):
    with pytest.raises(DeviceError) as caught:
        open_transport(target)
    assert not isinstance(caught.value, ConnectionLostError)
    return caught.value


def test_an_unauthorised_device_is_told_with_what_to_do_on_the_phone(adb, tmp_path):
    with switched_on(tmp_path / "device", auth="deny") as device:
        error = refusal(device.target)
    assert "unauthorized" in error.message
    assert "Allow USB debugging?" in error.hint


def test_a_device_that_is_not_there_is_told_with_those_that_are(adb, tmp_path):
    error = refusal("adb:0123456789ABCDEF")
    assert "is not connected" in error.message
    assert "none" in error.message
    assert "USB debugging" in error.hint
    assert server_port(tmp_path) is None


def test_a_refused_network_device_is_told(adb):
    error = refusal(f"adb:127.0.0.1:{free_port()}")
    assert "cannot be reached" in error.message


def test_an_unknown_name_is_told(adb):
    assert "name is unknown" in refusal("adb:no-such-host.invalid:5555").message


def test_two_devices_need_a_name(device, tmp_path):
    with switched_on(tmp_path / "other") as other:
        server = AdbServer("adb", port := free_port())
        try:
            for serial in (device.serial, other.serial):
                server.ask("connect", serial)
            while set(server.devices().values()) != {"device"}:
                time.sleep(0.05)
            with pytest.raises(DeviceError) as caught:
                AdbTransport("", server_port=port)
            assert "Several devices" in caught.value.message
            assert device.serial in caught.value.hint
            assert other.serial in caught.value.hint
        finally:
            server.close()


def test_the_only_device_needs_no_name(device):
    server = AdbServer("adb", port := free_port())
    try:
        server.ask("connect", device.serial)
        with closing(AdbTransport("", server_port=port)) as transport:
            assert sh(transport, "echo here").stdout == "here\n"
    finally:
        server.close()


def test_a_device_that_is_started_anew_is_found_again(device):
    with closing(open_transport(device.target)) as transport:
        workspace = transport.workspace
        lost = []

        def restart(_line):
            if not lost:
                lost.append(True)
                device.stop()
                device.start()

        with pytest.raises(ConnectionLostError):
            sh(transport, "echo begun; sleep 300", on_line=restart)
        assert sh(transport, "pwd").stdout.strip() == workspace


def test_a_device_that_does_not_come_back_is_lost(device):
    transport = open_transport(device.target)
    device.stop()
    with pytest.raises(ConnectionLostError):
        sh(transport, "true")
    transport.close()


def test_a_full_device_is_told_before_anything_is_sent(adb, tmp_path):
    (tmp_path / "big").write_bytes(bytes(12 << 20))
    with (
        switched_on(tmp_path / "device", storage="size=10m") as device,
        closing(open_transport(device.target)) as target,
    ):
        sent = []
        with pytest.raises(DeviceError, match=r"has \d+ MiB free .* 24 MiB are needed|MiB are needed") as caught:
            target.push(tmp_path / "big", progress=lambda done, total: sent.append(done))
        assert "--clean" in caught.value.hint
        assert sent == []


def test_a_device_that_gets_full_is_told_and_left_as_it_was(adb, tmp_path):
    """The number of files is limited, which `df` does not tell."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}").write_text(f"{number}")
    small = tmp_path / "small"
    small.write_text("fits")
    with (
        switched_on(tmp_path / "device", storage="size=64m,nr_inodes=40") as device,
        closing(open_transport(device.target)) as target,
    ):
        with pytest.raises(DeviceError, match="no space left"):
            target.push(folder)
        assert sh(target, f"find {target.folder}/incoming {target.folder}/bundles -type f").stdout == ""
        assert target.pull(target.push(small)) == b"fits"


def test_a_read_only_device_is_told(adb, tmp_path):
    with switched_on(tmp_path / "device", storage="size=1m,ro") as device:
        error = refusal(device.target)
    assert "read-only" in error.message


def test_without_adb_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    error = refusal("adb:")
    assert "apt-get install adb" in error.hint


def test_adb_of_the_sdk_is_found(monkeypatch, tmp_path, device):
    sdk = tmp_path / "sdk" / "platform-tools"
    sdk.mkdir(parents=True)
    (sdk / "adb").symlink_to(shutil.which("adb"))
    monkeypatch.setenv("ANDROID_HOME", str(sdk.parent))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with closing(open_transport(device.target)) as transport:
        assert transport.run(["echo", "here"], **QUICK).stdout == "here\n"


@pytest.mark.parametrize("target", ["adb:-s", "adb:a b", "adb://host:5555", "adb:a\nb"])
def test_what_is_no_serial_is_refused_before_adb_sees_it(target):
    assert "names no device" in refusal(target).message


def bench(device, path, **options):
    arguments = {"runtimes": ["onnxruntime"], "precisions": ["fp32"], "settings": RunSettings.quick(), **options}
    return run_benchmark(load_bundle(path), device.target, **arguments)


def test_a_bundle_is_measured_and_nothing_is_left_but_what_the_next_run_can_use(device, tiny_bundle):
    (result,) = bench(device, tiny_bundle).results
    assert result.latency_ns.samples
    assert result.drift is not None
    folder = device.data / "edgeconv"
    assert {path.name for path in folder.iterdir() if any(path.iterdir())} == {"agents", "bundles", "store"}


@pytest.mark.parametrize("during", ["upload", "load"])
def test_a_run_survives_a_dropped_connection(device, tiny_bundle, tmp_path, during):
    drops = []

    def drop(event):
        if not drops and event["phase"].startswith(during):
            port = server_port(tmp_path)
            said = subprocess.run(["adb", "-P", str(port), "disconnect"], capture_output=True, text=True, check=True)
            drops.append(said.stdout)

    (result,) = bench(device, tiny_bundle, events=drop).results
    assert drops == ["disconnected everything\n"]
    assert result.latency_ns.samples
    assert result.drift is not None
