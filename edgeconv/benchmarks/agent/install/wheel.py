"""Unpacking a wheel as the wheel format says (packaging.python.org, binary distribution format 1.0).

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import List, Optional, Tuple

from edgeconv.errors import BundleError

__all__ = ["unpack_wheel", "unpacked_bytes"]

_LIBRARIES = ("purelib", "platlib")
_INSTALLER = b"edgeconv\n"
_AGAIN = "Export the bundle again, or copy it again."


def unpacked_bytes(wheel: Path) -> int:
    """How much room the files of a wheel take."""
    with _open(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())


def unpack_wheel(wheel: Path, site: Path) -> None:
    """Unpack the modules of a wheel into `site` and write its RECORD of what is there.

    Programs, headers and data files outside the modules are left out: nothing here is started or compiled.

    Raises:
        BundleError: it is no wheel of format 1, or a path in it leaves `site`.
    """
    with _open(wheel) as archive:
        information = _information(wheel, archive)
        rows = []
        for info in archive.infolist():
            target = _target(wheel, info, information)
            if target is None or target == information / "RECORD":
                continue
            data = archive.read(info)
            _write(site, target, data)
            rows.append(_row(target, data))
        _write(site, information / "INSTALLER", _INSTALLER)
        rows.append(_row(information / "INSTALLER", _INSTALLER))
        rows.append((str(information / "RECORD"), "", ""))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    _write(site, information / "RECORD", table.getvalue().encode("utf-8"))


def _open(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(str(wheel))
    except zipfile.BadZipFile as error:
        raise BundleError(f"{wheel.name} is no wheel: {error}.", _AGAIN) from error


def _information(wheel: Path, archive: zipfile.ZipFile) -> PurePosixPath:
    """The `.dist-info` folder."""
    files = [PurePosixPath(name) for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
    if len(files) != 1 or len(files[0].parts) != 2:
        raise BundleError(f"{wheel.name} is no wheel: it has {len(files)} .dist-info folders.", _AGAIN)
    lines: List[str] = archive.read(str(files[0])).decode("utf-8", "replace").splitlines()
    version = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("Wheel-Version:")), "none")
    if version.split(".")[0] != "1":
        raise BundleError(f"{wheel.name} is a wheel of format {version}, only 1 is known.", "Update edgeconv.")
    return files[0].parent


def _target(wheel: Path, info: zipfile.ZipInfo, information: PurePosixPath) -> Optional[PurePosixPath]:
    """Where a member goes, relative to the modules; None for what is left out."""
    name = info.filename
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or ":" in name
        or stat.S_ISLNK(info.external_attr >> 16)
    ):
        raise BundleError(f"{wheel.name}: {name!r} may leave the folder it is unpacked into.", _AGAIN)
    if name.endswith("/") or not path.parts:
        return None
    if path.parts[0] != information.name[: -len(".dist-info")] + ".data":
        return path
    if len(path.parts) > 2 and path.parts[1] in _LIBRARIES:
        return PurePosixPath(*path.parts[2:])
    return None


def _write(site: Path, target: PurePosixPath, data: bytes) -> None:
    path = site / target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _row(target: PurePosixPath, data: bytes) -> Tuple[str, str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
    return str(target), f"sha256={digest}", str(len(data))
