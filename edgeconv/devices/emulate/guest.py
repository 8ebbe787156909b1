"""One running guest: starting QEMU, waiting until it can be logged in to, and ending it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from edgeconv.devices.emulate.boards import Board
from edgeconv.devices.emulate.cache import Progress, cache_root
from edgeconv.devices.emulate.qemu import qemu_command, usable_cores
from edgeconv.devices.emulate.systems import SYSTEMS, Image
from edgeconv.devices.emulate.tools import find_tool, require_tools
from edgeconv.errors import DeviceError

__all__ = ["BOOT_SECONDS", "HOST", "Guest", "boot", "process_is", "stop_process"]

BOOT_SECONDS = 60.0  # 6 to 9 s on two free cores
HOST = "127.0.0.1"
_PORT_ATTEMPTS = 3
_ANSWER_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_STOP_SECONDS = 5.0
_PANIC = "Kernel panic"
_TAIL_LINES = 12


@dataclasses.dataclass(frozen=True)
class Guest:
    """A guest that can be logged in to. `started` is the process's own start time, which tells it from a later one
    with the same id.
    """

    board: Board
    image: Image
    directory: Path  # its serial.log and what a login needs
    port: int
    pid: int
    started: str

    @property
    def serial_log(self) -> Path:
        """All that the guest's console printed."""
        return self.directory / "serial.log"

    def is_running(self) -> bool:
        """Whether its QEMU still runs."""
        return process_is(self.pid, self.started)

    def stop(self) -> None:
        """End QEMU by its id, wait until it is gone; a guest that has ended already is left alone."""
        stop_process(self.pid, self.started)


def boot(board: Board, image: Image, directory: Path, *, detached: bool, progress: Progress) -> Guest:
    """Start a guest and wait until it answers. Its files go to `directory`, which exists and is empty or stale.

    A guest that is not `detached` ends with this process, however that ends (on Linux).

    Raises:
        DeviceError: QEMU is missing or ends, the guest panics, or does not answer within a minute.
    """
    require_tools("qemu-system-aarch64")
    progress(f"booting {board.name}")
    for _ in range(_PORT_ATTEMPTS - 1):
        with contextlib.suppress(_PortTakenError):
            return _boot_once(board, image, directory, detached)
    return _boot_once(board, image, directory, detached)


def process_is(pid: int, started: str) -> bool:
    """Whether the process `pid` runs and is the one that was started at `started`."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a child of ours that ended would stay in the process table
    return started != "" and _start_time(pid) == started


def stop_process(pid: int, started: str) -> None:
    """Ask the process to end; insist after five seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _STOP_SECONDS
        if process_is(pid, started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while process_is(pid, started) and time.monotonic() < deadline:
            time.sleep(0.02)


class _PortTakenError(DeviceError):
    """Somebody else took the port between our look and QEMU's."""


def _boot_once(board: Board, image: Image, directory: Path, detached: bool) -> Guest:
    port = _free_port()
    process = _start(board, image, directory, port, detached)
    try:
        _await(board, directory, port, process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Guest(board, image, directory, port, process.pid, _start_time(process.pid))


def _start(board: Board, image: Image, directory: Path, port: int, detached: bool) -> subprocess.Popen[bytes]:
    (directory / "serial.log").write_bytes(b"")
    command = qemu_command(
        board,
        disk=image.disk,
        kernel=image.kernel.image,
        initrd=image.kernel.initrd,
        serial=directory / "serial.log",
        host_port=port,
        guest_port=SYSTEMS[board.system].guest_port,
        cores=usable_cores(board),
    )
    with (directory / "qemu.log").open("wb") as log:
        return subprocess.Popen(
            [*_die_with_parent(detached), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # What the guest writes goes into an unnamed file, 1 GB with wheels: /tmp may lie in memory
            env={**os.environ, "TMPDIR": str(cache_root())},
            start_new_session=True,  # Ctrl-C is for us: we end the guest when we are done with it
        )


def _die_with_parent(detached: bool) -> Sequence[str]:
    """To Linux the parent is the thread that starts it: a thread that is to end soon must not boot a guest."""
    setpriv = find_tool("setpriv")
    return () if detached or setpriv is None else (setpriv, "--pdeathsig", "KILL")


def _await(board: Board, directory: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    greets = SYSTEMS[board.system].greets
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        ended, serial = process.poll() is not None, _tail(directory / "serial.log")
        if _PANIC in serial:
            raise DeviceError(f"The guest {board.name} panicked while it booted. Its console ends with:\n{serial}")
        if ended:
            words = _tail(directory / "qemu.log")
            if "host forwarding" in words:
                raise _PortTakenError(f"{board.name} found no free port at {HOST}:\n{words}")
            raise DeviceError(
                f"QEMU ended with exit code {process.returncode} while {board.name} booted:\n{words or serial}",
                "Build the image again: edgeconv devices emulate --rebuild.",
            )
        if time.monotonic() > deadline:
            hint = f"Its console ends with:\n{serial}" if serial else "Its console printed nothing."
            raise DeviceError(f"{board.name} did not answer on port {port} within {BOOT_SECONDS:.0f} s.", hint)
        # QEMU takes the connection at once, whether the guest listens or not
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), _ANSWER_SECONDS) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            if greets(connection):
                return
        time.sleep(_PAUSE_SECONDS)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _start_time(pid: int) -> str:
    """When a process started, as its system tells; "" when there is none."""
    try:
        # the 22nd word; the second is the name in parentheses, which may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists() or shutil.which("ps") is None:
            return ""
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").strip().splitlines()[-_TAIL_LINES:])
