"""What is built once and kept: folders in the user's cache, named by what they are made of."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeconv.errors import DeviceError
from edgeconv.files import atomic_directory, cache_directory

__all__ = ["Progress", "build_once", "cache_root", "content_key", "locked"]

Progress = Callable[[str], None]  # told the name of each stage as it starts

_LOCK_SECONDS = 600.0  # a whole build takes 20 to 60 s; somebody else's is waited for so long
_UNUSED_DAYS = 7.0
_KEY_DIGITS = 16


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/edgeconv/emulate`, made when missing.

    Raises:
        UsageError: it cannot be made.
    """
    return cache_directory("emulate")


def content_key(*parts: str | bytes | Path) -> str:
    """A short name for what `parts` say; a path stands for the file's bytes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:_KEY_DIGITS]


def build_once(kind: str, key: str, build: Callable[[Path], None], *, rebuild: bool = False) -> Path:
    """The folder `<kind>-<key>` of the cache; `build` fills it when it is not there (or is to be replaced).

    Several processes may ask at once: one builds, the others wait. A failed build leaves nothing.

    Raises:
        DeviceError: another process has been building for ten minutes, or `build` failed.
    """
    root = cache_root()
    directory = root / f"{kind}-{key}"
    if not directory.exists() or rebuild:
        with locked(root / f"{kind}.lock", _LOCK_SECONDS):
            if not directory.exists() or rebuild:
                with atomic_directory(directory, force=rebuild) as temporary:
                    build(temporary)
                _remove_unused(root, kind, directory)
    os.utime(directory)
    return directory


@contextlib.contextmanager
def locked(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file `path`; it is freed by the system when this process ends, however it ends.

    Raises:
        DeviceError: another process holds it for longer than `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    with path.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeviceError(
                        f"{path} has been held by another process for {timeout_seconds:.0f} s.",
                        "Another edgeconv is building the same image: wait for it, or end it.",
                    ) from None
                time.sleep(0.1)
        yield


def _remove_unused(root: Path, kind: str, keep: Path) -> None:
    """Earlier versions that nobody has used for a week."""
    oldest = time.time() - _UNUSED_DAYS * 86400
    for directory in root.glob(f"{kind}-*"):
        if directory != keep and directory.stat().st_mtime < oldest:
            shutil.rmtree(directory, ignore_errors=True)
