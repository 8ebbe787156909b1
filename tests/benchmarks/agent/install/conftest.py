"""Directories of locked wheels for this machine, as a bundle has them."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.install import LOCK_NAME, LockedWheel, WheelLock

MACHINE = os.uname().machine
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_wheel(path: Path, files: Mapping[str, bytes], wheel_version: str = "1.0") -> Path:
    """A wheel with a correct RECORD."""
    name, version = path.name.split("-")[:2]
    information = f"{name}-{version}.dist-info"
    members = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{information}/WHEEL": f"Wheel-Version: {wheel_version}\nRoot-Is-Purelib: true\n".encode(),
    }
    rows = [f"{member},sha256={record_hash(data)},{len(data)}" for member, data in members.items()]
    members[f"{information}/RECORD"] = "\n".join([*rows, f"{information}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Callable[..., Path]:
    """Make `wheels/` with one wheel of `files`, its lock changed by `lock`."""

    def made(files: Mapping[str, bytes], wheel_version: str = "1.0", **lock: str) -> Path:
        directory = tmp_path / "wheels"
        directory.mkdir(exist_ok=True)
        path = write_wheel(directory / "array-1.2-py3-none-any.whl", files, wheel_version)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        target = {"machine": MACHINE, "python": PYTHON, "glibc": "2.17", **lock}
        locked = WheelLock(wheels=[LockedWheel("array", "1.2", sha256, path.name)], **target)
        (directory / LOCK_NAME).write_text(locked.text())
        return directory

    return made
