"""Writing files so that a failure leaves nothing half-written, and hashing them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeconv.errors import UsageError

__all__ = [
    "ZIP_DATE",
    "atomic_directory",
    "atomic_write_bytes",
    "cache_directory",
    "check_writable",
    "refuse_existing",
    "refuse_existing_file",
    "sha256_bytes",
    "sha256_file",
    "user_folder",
]

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say: the same content gives the same bytes."""

_CHUNK_BYTES = 1 << 20


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to a temporary name beside `path`, then move it into place.

    Raises:
        UsageError: it cannot be written there.
    """
    with _told(path), _temporary_beside(path) as (handle, temporary):
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)


def check_writable(path: Path) -> None:
    """Raise `UsageError` where a file `path` could not be written; for before the work whose result it is to hold."""
    with _told(path), _temporary_beside(path) as (handle, _):
        os.close(handle)


@contextlib.contextmanager
def atomic_directory(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary directory that becomes `path` when the block ends without an error.

    An existing `path` is kept and refused unless `force`; with `force` it is replaced only at the very end.

    Raises:
        UsageError: `path` exists and `force` is false, or `path` exists and is not a directory.
    """
    refuse_existing(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    os.chmod(temporary, 0o777 & ~_umask())
    try:
        yield temporary
        if path.exists():
            refuse_existing(path, force)
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.replace(path, old / path.name)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[tuple[int, str]]:
    """An open file of another name in the folder of `path`, gone at the end if it has that name still."""
    if path.is_dir() or not path.name:
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        yield handle, temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.", "Name another file.") from error


def user_folder(variable: str, fallback: str) -> Path:
    """`edgeconv` in the folder that `$variable` names, by default in `fallback` of the home folder; it is not made.

    Raises:
        UsageError: there is no home folder.
    """
    if named := os.environ.get(variable):
        return Path(named) / "edgeconv"
    try:
        return Path.home() / fallback / "edgeconv"
    except RuntimeError as error:
        raise UsageError("This user has no home folder to keep things in.", "Set HOME to a folder of yours.") from error


def cache_directory(name: str) -> Path:
    """`edgeconv/NAME` in the user's cache (`$XDG_CACHE_HOME`, by default `~/.cache`), made when missing.

    Raises:
        UsageError: it cannot be made.
    """
    directory = user_folder("XDG_CACHE_HOME", ".cache") / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{directory} cannot be made: {error}.", "Set XDG_CACHE_HOME to a folder of yours.") from error
    return directory


def refuse_existing(path: Path, force: bool) -> None:
    """Raise `UsageError` when the directory `path` may not be (re)written."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path} exists and is not a directory.", "Name another output folder.")
    refuse_existing_file(path, force)


def refuse_existing_file(path: Path, force: bool) -> None:
    """Raise `UsageError` when `path` is there and may not be replaced."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists already and is kept as it is.", "Use --force to replace it, or another name.")


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
