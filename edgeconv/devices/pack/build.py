"""Building a pack from an unpacked arm64 Debian and wheels, without running an arm64 instruction."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeconv.benchmarks.agent.install.wheel import unpack_wheel
from edgeconv.devices.emulate.cache import build_once, content_key
from edgeconv.devices.emulate.tree import arm64_tree, library_directories
from edgeconv.devices.pack.contents import copy_standard_library, prune_site
from edgeconv.devices.pack.libraries import needed_libraries
from edgeconv.errors import DeviceError
from edgeconv.files import atomic_write_bytes

__all__ = ["PACK_GLIBC", "PACK_PYTHON", "build_pack", "cached_pack"]

PACK_PYTHON, PACK_GLIBC = "3.11", "2.36"  # of the Debian release that `arm64_tree` unpacks
_MACHINE = "aarch64"
_LOADER = "ld-linux-aarch64.so.1"
_FILE = "python.tar.gz"
_LAUNCHER, _LAUNCHER_NAME = Path(__file__).with_name("run.sh"), "run"
_PROGRAMS = (_LAUNCHER_NAME, "python3", _LOADER)
_COMPRESSION = 6  # a fifth larger files at 1, three times the time at 9 for one in a hundred


def cached_pack(machine: str, wheels: Sequence[Path], progress: Callable[[str], None] = lambda stage: None) -> Path:
    """The pack with these wheels, built when it was not built before.

    Raises:
        DeviceError: the machine is not arm64, or the parts of the pack cannot be had.
    """
    if machine != _MACHINE:
        raise DeviceError(
            f"There is no pack for {machine}.", f"Packs are for {_MACHINE}; other boards need Python 3.8 or later."
        )
    tree = arm64_tree(progress=progress)
    sources = sorted(Path(__file__).parent.glob("*.*"))
    key = content_key(tree.name, *(wheel.name for wheel in wheels), *wheels, *sources)
    return build_once("pack", key, lambda directory: _build(tree, directory, wheels, progress)) / _FILE


def build_pack(directory: Path, wheels: Sequence[Path] = (), progress: Callable[[str], None] = lambda s: None) -> Path:
    """Write `directory`/python.tar.gz and return its path; the same tree and wheels give the same bytes.

    Raises:
        DeviceError: the parts of the pack cannot be had.
        BundleError: a wheel is damaged.
    """
    _build(arm64_tree(progress=progress), directory, wheels, progress)
    return directory / _FILE


def _build(tree: Path, directory: Path, wheels: Sequence[Path], progress: Callable[[str], None]) -> None:
    progress(f"building a Python {PACK_PYTHON} for devices without one")
    with tempfile.TemporaryDirectory(prefix="edgeconv-pack-") as temporary:
        root = Path(temporary)
        _fill(root, tree, wheels)
        atomic_write_bytes(directory / _FILE, _archive(root))


def _fill(root: Path, tree: Path, wheels: Sequence[Path]) -> None:
    library, programs, site = root / "lib", root / "bin", root / "site"
    for folder in (library, programs, site, root / "tmp"):
        folder.mkdir()
    shutil.copyfile(_LAUNCHER, root / _LAUNCHER_NAME)
    shutil.copyfile(tree / "usr/bin" / f"python{PACK_PYTHON}", programs / "python3")
    copy_standard_library(tree / "usr/lib" / f"python{PACK_PYTHON}", library / f"python{PACK_PYTHON}")
    for wheel in wheels:
        unpack_wheel(wheel, site)
    prune_site(site)
    for name, source in needed_libraries(sorted(root.rglob("*")), library_directories(tree)).items():
        shutil.copyfile(source, library / name)
    if not (library / _LOADER).is_file():
        raise DeviceError(f"{tree} has no {_LOADER}.", "Remove it, so that it is made again.")


def _archive(root: Path) -> bytes:
    """A .tar.gz without dates, owners and this machine's order of files."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=_COMPRESSION, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).as_posix()):
            info = archive.gettarinfo(path, path.relative_to(root).as_posix())
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            info.mode = 0o755 if info.isdir() or path.name in _PROGRAMS else 0o644
            if info.isfile():
                with path.open("rb") as contents:
                    archive.addfile(info, contents)
            else:
                archive.addfile(info)
    return stream.getvalue()
