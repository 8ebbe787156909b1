"""Guests that boot: what one finds there, and that none outlives its purpose."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.emulate.cache import cache_root
from edgeconv.devices.emulate.guest import Guest, boot, process_is
from edgeconv.devices.emulate.login import login, ssh_login
from edgeconv.devices.emulate.running import find_running, list_running, stop_running
from edgeconv.devices.emulate.systems import board_image
from edgeconv.devices.emulate.transport import open_emulated, open_guest
from edgeconv.errors import DeviceError
from tests.tools import need

pytestmark = pytest.mark.device
SECONDS = 60


def ssh(guest: Guest, command: str, **options) -> subprocess.CompletedProcess[str]:
    """By the system's own client and the configuration that a user is told of."""
    config = ["-F", str(ssh_login(guest).config), "-o", "BatchMode=yes"]
    argv = ["ssh", *config, guest.board.name, command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False, **options)


def out(guest: Guest, command: str) -> str:
    done = ssh(guest, command)
    assert done.returncode == 0, done.stderr
    return done.stdout


FACTS = r"""
import json, os, platform, re, socket, sqlite3, ssl, sys, venv, zipfile
read = lambda path: open(path).read()
try:
    socket.create_connection(("10.0.2.2", 22), 3).close()
    outside = True
except OSError:
    outside = False
print(json.dumps({
    "part": sorted(set(re.findall(r"CPU part\s*: (\w+)", read("/proc/cpuinfo")))),
    "features": re.findall(r"Features\s*: (.*)", read("/proc/cpuinfo"))[0].split(),
    "model": read("/proc/device-tree/model").rstrip("\0"),
    "compatible": read("/proc/device-tree/compatible").split("\0"),
    "cmdline": read("/proc/cmdline").split(),
    "os": re.findall(r"^ID=(.*)$", read("/etc/os-release"), re.M)[0],
    "python": sys.version_info[:2], "glibc": platform.libc_ver()[1], "machine": platform.machine(),
    "user": os.environ["USER"], "home": os.getcwd(), "host": platform.node(), "outside": outside,
    "writable": os.access("/home/pi", os.W_OK) and not os.access("/usr", os.W_OK),
    "free": os.statvfs("/home/pi").f_bavail * os.statvfs("/home/pi").f_frsize,
}))
"""


def facts(guest: Guest) -> dict:
    return json.loads(ssh(guest, "python3 -", input=FACTS).stdout)


def test_a_pi_4_is_a_cortex_a72_with_debian_and_python(pi4):
    found = facts(pi4)
    assert found["part"] == ["0xd08"]
    assert "asimddp" not in found["features"]
    assert "asimdhp" not in found["features"]
    assert found["model"].startswith("Raspberry Pi 4 Model B")
    assert found["compatible"][0] == "raspberrypi,4-model-b"
    assert "linux,dummy-virt" in found["compatible"]  # and it does not hide that it is QEMU
    assert "edgeconv.clock=wall" in found["cmdline"]
    assert (found["os"], found["machine"]) == ("debian", "aarch64")
    assert found["python"] >= [3, 11]
    assert (found["user"], found["home"], found["host"]) == ("pi", "/home/pi", "pi4")
    assert found["writable"]
    assert found["free"] > 2e9
    assert not found["outside"]


def test_a_pi_5_is_a_cortex_a76(pi5):
    found = facts(pi5)
    assert found["part"] == ["0xd0b"]
    assert {"asimddp", "asimdhp"} <= set(found["features"])
    assert "i8mm" not in found["features"]
    assert found["model"].startswith("Raspberry Pi 5 Model B")


def test_a_virtual_environment_can_be_made_without_a_network(pi5):
    assert out(pi5, "python3 -m venv --without-pip /tmp/v && /tmp/v/bin/python -c 'import sys; print(sys.prefix)'") == (
        "/tmp/v\n"
    )


def test_a_jetson_says_which_release_it_has(boards):
    orin = boards.get("orin")
    assert out(orin, "head -1 /etc/nv_tegra_release").startswith("# R36 (release), REVISION: 4.7")
    assert "tegra234" in out(orin, "cat /proc/device-tree/compatible")


LOOP = r"""
import time
def work():
    total = 0
    for i in range(1000):
        total += i * i
    return total
times = []
for _ in range(201):
    start = time.perf_counter_ns()
    work()
    times.append(time.perf_counter_ns() - start)
times.sort()
print(times[0], times[100])
"""


def test_the_same_instructions_take_the_same_virtual_time(pi5_deterministic):
    """The shortest of many is free of the guest's own timer interrupts, which come at another instruction each time."""
    found = [
        [int(word) for word in ssh(pi5_deterministic, "PYTHONHASHSEED=0 python3 -", input=LOOP).stdout.split()]
        for _ in range(3)
    ]
    shortest, medians = zip(*found, strict=True)
    assert len(set(shortest)) == 1, found
    assert max(medians) <= 1.03 * min(medians)
    assert 100_000 < shortest[0] < 10_000_000  # 1 ns an instruction
    assert "edgeconv.clock=virtual" in out(pi5_deterministic, "cat /proc/cmdline")
    assert out(pi5_deterministic, "nproc") == "1\n"


def test_a_target_of_that_name_is_the_guest_that_runs_and_stays_when_it_is_closed(pi5):
    with closing(open_emulated("pi5")) as transport:
        done = transport.run(["sh", "-c", "echo $WORD; exit 3"], environment={"WORD": "a 'b' $c"}, timeout_seconds=60)
        assert (done.returncode, done.stdout) == (3, "a 'b' $c\n")
        assert transport.system.machine == "aarch64"
    assert pi5.is_running()
    assert login(pi5).target == f"ssh://pi@127.0.0.1:{pi5.port}"


def test_another_host_key_is_not_accepted(pi5, tmp_path):
    foreign = tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    foreign.write_text(f"[127.0.0.1]:{pi5.port} {(tmp_path / 'key.pub').read_text()}")
    config = ["-F", str(ssh_login(pi5).config), "-o", f"UserKnownHostsFile={foreign}", "-o", "BatchMode=yes"]
    done = subprocess.run(["ssh", *config, "pi5", "true"], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in done.stderr


def test_orphans_are_reaped_and_a_killed_sshd_comes_back(pi5):
    # the child of a shell that ended has process 1 for its parent
    out(pi5, "sh -c 'sleep 0.2 &' ; sleep 1")
    assert "defunct" not in out(pi5, "ps -A -o comm,state")
    root = ["ssh", "-F", str(ssh_login(pi5).config), "-o", "BatchMode=yes", "-l", "root", "pi5"]
    subprocess.run([*root, "killall -9 sshd || pkill -9 sshd"], capture_output=True, timeout=SECONDS, check=False)
    deadline = time.monotonic() + SECONDS
    while ssh(pi5, "true").returncode != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_an_android_guest_has_what_a_phone_has_and_nothing_more(android):
    with closing(open_guest(android)) as target:

        def shell(command: str) -> tuple[int | None, str]:
            done = target.run(["sh", "-c", command], environment={}, timeout_seconds=SECONDS)
            return done.returncode, done.stdout + done.stderr

        assert shell("id -u; pwd; exit 7") == (7, f"2000\n{target.workspace}\n")
        assert target.workspace.startswith("/data/local/tmp/")
        assert target.python == []
        for path in ("/lib", "/lib64", "/usr", "/bin", "/tmp", "/adbd/prefix"):
            assert shell(f"ls {path}")[0] != 0, path
        assert shell("command -v python3 || command -v python")[0] != 0
        assert shell("getprop ro.product.cpu.abi; getprop ro.no.such.thing") == (0, "arm64-v8a\n\n")
        assert "[ro.build.version.sdk]: [34]" in shell("getprop")[1]
        assert shell("echo x > /system/file")[0] != 0
        assert "0xd0b" in shell("cat /proc/cpuinfo")[1]


def test_files_come_back_from_android_as_they_went_and_it_can_be_rebooted(android, tmp_path):
    serial = f"127.0.0.1:{android.port}"
    environment = {**os.environ, "HOME": str(tmp_path)}

    def adb(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["adb", "-P", "15038", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)

    def wait_for_boot(after: str = "") -> str:
        """The id of a boot that is not `after`, whose connection may still look alive."""
        deadline = time.monotonic() + SECONDS
        while (found := adb("-s", serial, "shell", "cat /proc/sys/kernel/random/boot_id").stdout) in ("", after):
            assert time.monotonic() < deadline
            adb("disconnect", serial)
            adb("connect", serial)
            time.sleep(0.5)
        return found

    try:
        first = wait_for_boot()
        data = os.urandom(300_000)
        (tmp_path / "file").write_bytes(data)
        assert adb("-s", serial, "push", str(tmp_path / "file"), "/data/local/tmp/a/b/file").returncode == 0
        assert adb("-s", serial, "pull", "/data/local/tmp/a/b/file", str(tmp_path / "back")).returncode == 0
        assert (tmp_path / "back").read_bytes() == data
        assert "Permission denied" in adb("-s", serial, "push", str(tmp_path / "file"), "/system/x").stdout
        assert adb("-s", serial, "reboot").returncode == 0
        assert wait_for_boot(after=first) != first
    finally:
        adb("kill-server")


@pytest.fixture
def own_runtime(tmp_path, monkeypatch):
    need("qemu-system-aarch64", "mmdebstrap", "mke2fs", "ssh")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_guest_of_ones_own_ends_with_its_connection(own_runtime):
    transport = open_emulated("pi4")
    guest = transport.guest
    assert list_running() == []  # nobody else is to take it for a board that stays
    assert guest.is_running()
    transport.close()
    assert not guest.is_running()
    assert not guest.directory.exists()
    assert "Server listening" in (cache_root() / "logs/pi4.log").read_text()


CHILD = """
import sys
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.emulate.systems import board_image
from edgeconv.devices.emulate.running import temporary_guest
with temporary_guest(find_board("pi4"), board_image("debian")) as guest:
    print("up", flush=True)
"""


def test_a_guest_does_not_survive_the_process_that_needs_it(own_runtime):
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) as child:
        deadline = time.monotonic() + SECONDS
        while not (started := children(child.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    """The QEMUs that a process started."""
    listed = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "qemu" in line]


@pytest.fixture
def image(own_runtime):
    return board_image("debian")


def test_a_guest_that_panics_says_so_at_once(image, tmp_path):
    broken = tmp_path / "initrd"
    broken.write_bytes(b"no archive")
    kernel = dataclasses.replace(image.kernel, initrd=broken)
    with pytest.raises(DeviceError, match=r"(?s)pi5 panicked while it booted.*Kernel panic"):
        boot(find_board("pi5"), dataclasses.replace(image, kernel=kernel), tmp_path, detached=False, progress=print)


def test_a_disk_that_is_none_ends_the_boot_with_the_console(image, tmp_path):
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    with pytest.raises(DeviceError, match="the disk cannot be mounted") as caught:
        boot(
            find_board("pi5"), dataclasses.replace(image, directory=tmp_path), tmp_path, detached=False, progress=print
        )
    assert "--rebuild" in caught.value.hint


def test_qemu_that_does_not_start_is_quoted(image, tmp_path):
    board = dataclasses.replace(find_board("pi5"), cpu="cortex-a99")
    with pytest.raises(DeviceError, match=r"(?s)QEMU ended with exit code 1.*cortex-a99"):
        boot(board, image, tmp_path, detached=False, progress=print)


def test_a_remembered_guest_whose_process_ended_is_forgotten(own_runtime, tmp_path):
    board = find_board("pi5")
    directory = tmp_path / "edgeconv/emulate/pi5"
    directory.mkdir(parents=True)
    state = {
        "board": "pi5",
        "image": "/i",
        "kernel": "/k",
        "initrd": "/i",
        "port": 1,
        "pid": os.getpid(),
        "started": "1",
    }
    (directory / "guest.json").write_text(json.dumps(state))
    assert not process_is(os.getpid(), "1")  # that process is another one
    assert find_running(board) is None
    assert list_running() == []
    assert not stop_running(board)
    (directory / "guest.json").write_text("{")
    assert find_running(board) is None
