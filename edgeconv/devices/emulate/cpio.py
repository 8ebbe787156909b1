"""The archive that a kernel unpacks as its first file system: cpio in the "newc" format, gzipped."""

from __future__ import annotations

import gzip
import stat
from collections.abc import Mapping

__all__ = ["write_initramfs"]

_EXECUTABLE = stat.S_IFREG | 0o755
_DIRECTORY = stat.S_IFDIR | 0o755
_END = "TRAILER!!!"


def write_initramfs(files: Mapping[str, bytes], directories: tuple[str, ...]) -> bytes:
    """An archive of executable `files` (path → contents) and empty `directories`; all belong to root."""
    parents = {path.rsplit("/", 1)[0] for path in files if "/" in path}
    entries = [(name, _DIRECTORY, b"") for name in sorted({*directories, *parents})]
    entries += [(name, _EXECUTABLE, data) for name, data in files.items()]
    archive = b"".join(_entry(inode, *entry) for inode, entry in enumerate(entries, start=1))
    return gzip.compress(archive + _entry(0, _END, 0, b""), compresslevel=6, mtime=0)


def _entry(inode: int, name: str, mode: int, data: bytes) -> bytes:
    path = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, checksum (unused)
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
