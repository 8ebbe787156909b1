"""A virtual environment (PEP 405) with the bundle's wheels, made by hand: no pip, no ensurepip, no network.

Debian has neither `ensurepip` nor, in its smallest installation, `venv`; all that an environment is to Python are a
`pyvenv.cfg`, a link to the interpreter and a `site-packages`.  Part of the device agent: Python 3.8.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import List, Optional

from edgeconv.benchmarks.agent.install.lock import LOCK_NAME, WheelLock, read_lock
from edgeconv.benchmarks.agent.install.wheel import unpack_wheel, unpacked_bytes
from edgeconv.errors import BundleError, DeviceError

__all__ = ["MARKER_NAME", "check_target", "install_wheels"]

MARKER_NAME = "edgeconv.json"  # in an environment that is complete: the SHA-256 of its lock
_SPARE_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20
_OTHER = "Export the bundle for this board (see edgeconv devices probe), or without --with-wheels to use what it has."


def install_wheels(wheels: Path, into: Path) -> Path:
    """Make the environment `into` from a directory of locked wheels, and return its Python.

    An environment of the same lock is kept as it is; any other thing at `into` is replaced.  It appears there when
    it is complete, so an installation that was cut short is begun again.

    Raises:
        BundleError: a wheel is missing, was changed, or is unsafe.
        DeviceError: the wheels are for another machine, or they cannot be written here.
    """
    lock = read_lock(wheels)
    check_target(lock)
    key = hashlib.sha256((wheels / LOCK_NAME).read_bytes()).hexdigest()
    python = into / "bin" / "python3"
    if _installed_key(into) == key and python.exists():
        return python
    for wheel in lock.wheels:
        _verify(wheels / wheel.filename, wheel.sha256)
    temporary = into.parent / f".{into.name}.{os.getpid()}"
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(into)
        _check_room(wheels, lock, into.parent)
        _make(temporary, wheels, lock, key)
        _replace(temporary, into)
    except OSError as error:
        if _installed_key(into) == key:  # another process was a moment quicker
            return python
        raise DeviceError(
            f"The wheels cannot be installed into {into}: {error}.", "Free some room there, or make it writable."
        ) from error
    finally:
        shutil.rmtree(str(temporary), ignore_errors=True)
    return python


def check_target(lock: WheelLock) -> None:
    """Raise DeviceError when the wheels of `lock` are not for this machine, this Python and this C library."""
    found_glibc = _glibc()
    here = (platform.machine(), "{}.{}".format(*sys.version_info[:2]), found_glibc or "no glibc")
    fits = (
        here[:2] == (lock.machine, lock.python)
        and found_glibc is not None
        and _numbers(found_glibc) >= _numbers(lock.glibc)
        and sys.implementation.name == "cpython"
    )
    if not fits:
        libc = f"glibc {found_glibc}" if found_glibc else "no glibc"
        raise DeviceError(
            f"This bundle's wheels are for {lock.machine}, Python {lock.python}, glibc >= {lock.glibc}; "
            f"here are {here[0]}, {platform.python_implementation()} {platform.python_version()}, {libc}.",
            _OTHER,
        )


def _glibc() -> Optional[str]:
    """The version of the C library that this process runs on; None for another library than glibc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, OSError, ValueError):  # musl, bionic, no Unix
        return None
    return version if name == "glibc" and version else None


def _numbers(version: str) -> List[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _installed_key(into: Path) -> Optional[str]:
    try:
        found = json.loads((into / MARKER_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("lock") if isinstance(found, dict) else None


def _verify(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}.", "Copy the bundle again.") from error
    if digest.hexdigest() != sha256:
        raise BundleError(f"{path.name} was changed since the export.", "Copy the bundle again.")


def _check_room(wheels: Path, lock: WheelLock, directory: Path) -> None:
    needed = sum(unpacked_bytes(wheels / wheel.filename) for wheel in lock.wheels) + _SPARE_BYTES
    free = shutil.disk_usage(str(directory)).free
    if free < needed:
        raise DeviceError(
            f"The wheels need {needed / 1e6:.0f} MB in {directory}, {free / 1e6:.0f} MB are free.",
            "Free some room there.",
        )


def _make(directory: Path, wheels: Path, lock: WheelLock, key: str) -> None:
    base = Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))
    site = directory / "lib" / f"python{lock.python}" / "site-packages"
    for folder in (directory / "bin", site):
        folder.mkdir(parents=True)
    settings = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {platform.python_version()}\n"
    (directory / "pyvenv.cfg").write_text(settings, encoding="utf-8")
    (directory / "bin" / "python3").symlink_to(base)
    for wheel in lock.wheels:
        unpack_wheel(wheels / wheel.filename, site)
    (directory / MARKER_NAME).write_text(json.dumps({"lock": key}), encoding="utf-8")
    os.sync()  # a board that loses power must not come back to a complete name with empty files


def _replace(temporary: Path, into: Path) -> None:
    """Move a complete environment to its name; of two processes that make the same one the later wins."""
    if into.exists() or into.is_symlink():
        old = temporary.with_name(temporary.name + ".old")
        os.replace(str(into), str(old))
        os.replace(str(temporary), str(into))
        shutil.rmtree(str(old), ignore_errors=True)
    else:
        os.replace(str(temporary), str(into))


def _remove_leftovers(into: Path) -> None:
    """What installations left that were killed."""
    for path in into.parent.glob(f".{into.name}.*"):
        process = path.name[len(into.name) + 2 :].split(".")[0]
        if process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(str(path), ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
