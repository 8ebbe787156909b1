"""Making a disk out of a folder, without root: `mke2fs -d`, then `debugfs` for who owns what."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from edgeconv.devices.emulate.tools import run_tool

__all__ = ["copy_tree", "make_disk", "write_file"]

_TIMEOUT_SECONDS = 300.0


def copy_tree(source: Path, target: Path) -> None:
    """A copy whose files are hard links: replace them with `write_file`, never write into them."""
    shutil.copytree(source, target, symlinks=True, copy_function=os.link, dirs_exist_ok=True)


def write_file(root: Path, path: str, content: str | bytes, mode: int = 0o644) -> None:
    """A file of its own at `root`/`path`, whatever was there."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    target.chmod(mode)


def make_disk(root: Path, disk: Path, size_mib: int, owners: Mapping[str, int]) -> None:
    """An ext4 file system with the contents of `root`, as a sparse file of `size_mib`.

    Everything belongs to root but the folders in `owners` (path → uid and gid) with all that they hold.

    Raises:
        DeviceError: a tool is missing or failed.
    """
    run_tool(["mke2fs", "-q", "-t", "ext4", "-d", root, disk, f"{size_mib}M"], timeout_seconds=_TIMEOUT_SECONDS)
    commands = []
    for path in [root, *sorted(root.rglob("*"))]:
        name = "/" + str(path.relative_to(root)) if path != root else "/"
        owner = next((uid for folder, uid in owners.items() if f"{name}/".startswith(f"/{folder}/")), 0)
        if owner != path.lstat().st_uid:
            commands += [f'set_inode_field "{name}" {field} {owner}' for field in ("uid", "gid")]
    if commands:
        script = "\n".join(commands) + "\n"
        run_tool(["debugfs", "-w", "-f", "-", disk], timeout_seconds=_TIMEOUT_SECONDS, stdin=script)
