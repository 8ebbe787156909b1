"""Emulated boards, booted when a test first asks, two at once, gone when the session ends; a real sshd of a test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.emulate.guest import Guest
from edgeconv.devices.emulate.running import start_running, stop_running
from edgeconv.devices.emulate.systems import board_image
from edgeconv.devices.transports import Transport, open_transport
from tests.devices.sshd import Sshd
from tests.tools import need

_AT_ONCE = 2  # two guests of two cores each keep two cores busy


class Boards:
    """The guests of a session. A test gets a running one under `emulated:NAME`; two tests may share it."""

    def __init__(self) -> None:
        self._running: dict[str, Guest] = {}  # the one asked for last is last

    def get(self, name: str) -> Guest:
        board = find_board(name)
        need("qemu-system-aarch64", "mmdebstrap", "mke2fs", "ssh", "adb")
        guest = self._running.pop(name, None)
        if guest is None or not guest.is_running():
            while len(self._running) >= _AT_ONCE:
                self.stop(next(iter(self._running)))
            guest = start_running(board, board_image(board.system), progress=print, detached=False)
        self._running[name] = guest
        return guest

    def stop(self, name: str) -> None:
        if self._running.pop(name, None) is not None:
            stop_running(find_board(name))

    def stop_all(self) -> None:
        for name in list(self._running):
            self.stop(name)


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # a user's own guests are left alone
        pool = Boards()
        yield pool
        pool.stop_all()


@pytest.fixture
def pi4(boards: Boards) -> Guest:
    return boards.get("pi4")


@pytest.fixture
def pi5(boards: Boards) -> Guest:
    return boards.get("pi5")


@pytest.fixture
def pi5_deterministic(boards: Boards) -> Guest:
    return boards.get("pi5-deterministic")


@pytest.fixture
def android(boards: Boards) -> Guest:
    return boards.get("android")


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A real server of the test's own, where this environment's Python is found, and an `ssh` that knows it."""
    need("sshd", "ssh")
    server = Sshd(tmp_path / "sshd", environment={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"})
    server.put_on_path(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    server.start()
    yield server
    server.drop()
    server.stop()


@pytest.fixture
def target(sshd: Sshd) -> Iterator[Transport]:
    with closing(open_transport(sshd.target)) as transport:
        yield transport
