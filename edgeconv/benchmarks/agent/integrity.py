"""Files of a bundle against their manifest, before they are used.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Iterable, Union

from edgeconv.errors import BundleError
from edgeconv.manifest import Artifact, FileEntry

__all__ = ["verify_files"]

_CHUNK_BYTES = 1 << 20


def verify_files(directory: Path, entries: Iterable[Union[Artifact, FileEntry]]) -> None:
    """Check place, size and SHA-256 of each entry.

    Raises:
        BundleError: a file is missing, outside the bundle, or was changed.
    """
    for entry in entries:
        if not _unchanged(directory, entry.path, entry.sha256, entry.bytes):
            raise BundleError(f"{entry.path} is missing or was changed since the export.", "Copy the bundle again.")


def _unchanged(directory: Path, name: str, sha256: str, size: int) -> bool:
    pure = PurePosixPath(name)
    path = directory / pure
    if pure.is_absolute() or ".." in pure.parts or not path.is_file() or os.path.getsize(str(path)) != size:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest() == sha256
