"""Guests that outlive the command that started them: one of each board, remembered in the user's runtime folder."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeconv.devices.emulate.boards import Board, find_board
from edgeconv.devices.emulate.cache import Progress, cache_root, locked
from edgeconv.devices.emulate.guest import BOOT_SECONDS, Guest, boot
from edgeconv.devices.emulate.kernel import Kernel
from edgeconv.devices.emulate.systems import Image
from edgeconv.errors import DeviceError
from edgeconv.files import atomic_write_bytes
from edgeconv.schema import SchemaError, from_dict, to_json

__all__ = ["find_running", "list_running", "start_running", "stop_running", "temporary_guest"]

_STATE = "guest.json"


@dataclasses.dataclass(frozen=True)
class _State:
    """What is written down of a guest; paths are strings."""

    board: str
    image: str
    kernel: str
    initrd: str
    port: int
    pid: int
    started: str


def start_running(
    board: Board, image: Image, *, progress: Progress, replace: bool = False, detached: bool = True
) -> Guest:
    """The running guest of a board, started when there is none (or it is to be replaced).

    It runs until `stop_running`, and when it is not `detached` no longer than this process.

    Raises:
        DeviceError: as `boot`.
    """
    root = _root()
    with locked(root / f"{board.name}.lock", 2 * BOOT_SECONDS):
        running = find_running(board)
        if running is not None and not replace:
            return running
        if running is not None:
            running.stop()
        directory = root / board.name
        directory.mkdir(exist_ok=True)
        guest = boot(board, image, directory, detached=detached, progress=progress)
        kernel = image.kernel
        state = _State(
            board.name,
            str(image.directory),
            str(kernel.image),
            str(kernel.initrd),
            guest.port,
            guest.pid,
            guest.started,
        )
        atomic_write_bytes(directory / _STATE, to_json(state).encode())
        return guest


def find_running(board: Board) -> Guest | None:
    """The guest of a board that runs in the background."""
    directory = _root() / board.name
    try:
        state = from_dict(_State, json.loads((directory / _STATE).read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, SchemaError):
        return None
    image = Image(Path(state.image), Kernel(Path(state.kernel), Path(state.initrd)))
    guest = Guest(board, image, directory, state.port, state.pid, state.started)
    return guest if guest.is_running() else None


def list_running() -> list[Guest]:
    """All guests that run in the background."""
    found = []
    for path in sorted(_root().glob(f"*/{_STATE}")):
        with contextlib.suppress(DeviceError):  # a board that another version knows
            if (guest := find_running(find_board(path.parent.name))) is not None:
                found.append(guest)
    return found


def stop_running(board: Board) -> bool:
    """End the guest of a board; whether there was one. Its console's log stays until the next one starts."""
    with locked(_root() / f"{board.name}.lock", 2 * BOOT_SECONDS):
        guest = find_running(board)
        if guest is not None:
            guest.stop()
        (_root() / board.name / _STATE).unlink(missing_ok=True)
    return guest is not None


@contextlib.contextmanager
def temporary_guest(board: Board, image: Image, *, progress: Progress = lambda stage: None) -> Iterator[Guest]:
    """A guest of one's own that ends with the block; several of one board can run at once.

    Its console's log is kept as `logs/<board>.log` in the cache.

    Raises:
        DeviceError: as `boot`.
    """
    logs = cache_root() / "logs"
    logs.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f".{board.name}-", dir=_root()))
    try:
        guest = boot(board, image, directory, detached=False, progress=progress)
        atexit.register(guest.stop)
        try:
            yield guest
        finally:
            guest.stop()
            atexit.unregister(guest.stop)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.move(directory / "serial.log", logs / f"{board.name}.log")
        shutil.rmtree(directory, ignore_errors=True)


def _root() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(runtime) / "edgeconv" / "emulate" if runtime else cache_root() / "run"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root
