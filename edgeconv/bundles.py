"""Opening a bundle: nothing in it is used before every hash has been checked."""

from __future__ import annotations

import dataclasses
import lzma
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeconv.errors import BundleError, UsageError
from edgeconv.files import check_writable, sha256_file
from edgeconv.manifest import MANIFEST_NAME, FileEntry, Manifest, read_manifest
from edgeconv.wording import listed

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "AGENT_PATH",
    "GOLDEN_PATH",
    "LOCK_PATH",
    "MODELS_PATH",
    "PACK_PATH",
    "WHEELS_PATH",
    "XZ",
    "Bundle",
    "bundle_entries",
    "load_bundle",
    "open_bundle",
    "output_beside",
    "safe_path",
]

GOLDEN_PATH = "golden/cases.npz"
AGENT_PATH = "agent.pyz"
MODELS_PATH = "models"
XZ = ".xz"  # ends the name of a file that is compressed so within a `.zip`
WHEELS_PATH = "wheels"  # hash-locked wheels for the device's own Python
LOCK_PATH = f"{WHEELS_PATH}/requirements.lock"
PACK_PATH = "pack/python.tar.gz"  # a Python for a device without one
_CHUNK_BYTES = 1 << 20
_AGAIN = "Export it again, or fetch an unchanged copy."


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    directory: Path
    manifest: Manifest
    manifest_sha256: str

    @property
    def golden(self) -> Path:
        """The golden cases."""
        return self.directory / GOLDEN_PATH

    def golden_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The golden cases: `input.<port>`, `<reference>.<port>` and `target`, each stacked over the cases.

        Raises:
            BundleError: they are no readable archive.
        """
        import numpy as np

        try:
            with np.load(self.golden, allow_pickle=False) as archive:
                return dict(archive)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"{self.golden} cannot be used: {error}.", "Export the bundle again.") from error

    @property
    def supply(self) -> dict[str, Path]:
        """The wheels or the Python that it brings for its device, by path in the bundle."""
        brought = (f"{WHEELS_PATH}/", PACK_PATH)
        return {e.path: self.directory / e.path for e in self.manifest.files if e.path.startswith(brought)}


def output_beside(bundle: Path, asked: Path | None, prefix: str) -> Path:
    """Where to write what was found about a bundle: `asked`, else PREFIX-BUNDLE.json beside it.

    Raises:
        UsageError: it cannot be written, or is inside the bundle, which has no files but those of its manifest.
    """
    whole = bundle.resolve()
    named = bundle if bundle.name not in ("", "..") else whole
    path = asked or named.parent / f"{prefix}-{named.name.removesuffix('.zip')}.json"
    if whole in path.resolve().parents:
        raise UsageError(f"{path} is inside the bundle, whose files are those of its manifest.", "Name another place.")
    check_writable(path)
    return path


def bundle_entries(manifest: Manifest) -> list[FileEntry]:
    """Every file that the manifest names, artefacts and their companions included."""
    entries = list(manifest.files)
    for artifact in manifest.artifacts:
        entries.append(FileEntry(artifact.path, artifact.sha256, artifact.bytes))
        entries.extend(artifact.companions)
    return entries


def safe_path(directory: Path, relative: str) -> Path:
    """`directory`/`relative`, refusing absolute paths, "..", drive letters, backslashes and links that leave it."""
    pure = PurePosixPath(relative)
    if (
        not relative
        or pure.is_absolute()
        or ".." in pure.parts
        or "\\" in relative
        or ":" in relative
        or "\0" in relative
    ):
        raise BundleError(f"Bundle {directory} names the path {relative!r}, which may leave it.", _AGAIN)
    path = directory / pure
    if not path.resolve().is_relative_to(directory.resolve()):
        raise BundleError(f"Bundle {directory}: {relative!r} is a link that leaves it.", _AGAIN)
    return path


def load_bundle(directory: Path) -> Bundle:
    """Open a bundle directory and verify it.

    Raises:
        BundleError: the manifest is damaged; a file is changed, missing, extra or no plain file; a path leaves the
            directory.
    """
    manifest = read_manifest(directory)
    expected: dict[str, FileEntry] = {}
    for entry in bundle_entries(manifest):
        safe_path(directory, entry.path)
        if expected.setdefault(entry.path, entry).sha256 != entry.sha256:
            raise BundleError(
                f"Bundle {directory}: the manifest names {entry.path} twice with different hashes.", _AGAIN
            )
    present = set(_files(directory)) - {MANIFEST_NAME}
    _refuse(directory, "is missing", sorted(set(expected) - present))
    _refuse(directory, "is not in the manifest", sorted(present - set(expected)))
    changed = [p for p, e in sorted(expected.items()) if not _matches(directory / p, e)]
    _refuse(directory, "has been changed since the export", changed)
    return Bundle(directory, manifest, sha256_file(directory / MANIFEST_NAME))


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """`load_bundle` for a directory or for the `.zip` that `--pack` writes, unpacked for the length of the block."""
    if not path.exists():
        raise BundleError(f"There is no bundle at {path}.", "Make one: edgeconv export.")
    if path.is_dir():
        yield load_bundle(path)
        return
    with tempfile.TemporaryDirectory(prefix="edgeconv-bundle-") as temporary:
        try:
            _unpack(path, Path(temporary))
            bundle = load_bundle(Path(temporary))
        except BundleError as error:  # of the user's file, not of where it was unpacked
            raise BundleError(error.message.replace(temporary, str(path)), error.hint) from error
        yield bundle


def _unpack(path: Path, directory: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                safe_path(directory, info.filename)
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise BundleError(f"{path}: {info.filename!r} is a link, a bundle has only plain files.", _AGAIN)
            archive.extractall(directory)
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error) as error:
        raise BundleError(f"{path} is no bundle: {error}.", "Name a bundle's directory or its .zip.") from error
    for entry in bundle_entries(read_manifest(directory)):
        squeezed = safe_path(directory, entry.path + XZ)
        if squeezed.is_file() and not (directory / entry.path).exists():
            _expand(squeezed, directory / entry.path, entry.bytes)


def _expand(squeezed: Path, path: Path, size: int) -> None:
    """Write what the `.xz` file holds to `path`, no more than the manifest's size and one byte that betrays it."""
    left = size + 1
    try:
        with lzma.open(squeezed) as stream, path.open("wb") as target:
            while left > 0 and (chunk := stream.read(min(left, _CHUNK_BYTES))):
                left -= target.write(chunk)
    except (lzma.LZMAError, EOFError) as error:
        raise BundleError(f"{squeezed.name} in the bundle cannot be unpacked: {error}.", _AGAIN) from error
    squeezed.unlink()


def _files(directory: Path) -> Iterator[str]:
    for root, folders, names in os.walk(directory, followlinks=False):
        for name in [*names, *(f for f in folders if (Path(root) / f).is_symlink())]:
            path = Path(root) / name
            if path.is_symlink() or not path.is_file():
                raise BundleError(f"Bundle {directory}: {path.relative_to(directory)} is no plain file.", _AGAIN)
            yield path.relative_to(directory).as_posix()


def _matches(path: Path, entry: FileEntry) -> bool:
    try:
        return path.stat().st_size == entry.bytes and sha256_file(path) == entry.sha256
    except OSError as error:
        raise BundleError(f"{path} in the bundle cannot be read: {error.strerror}.", _AGAIN) from error


def _refuse(directory: Path, what: str, paths: Iterable[str]) -> None:
    if refused := list(paths):
        raise BundleError(f"Bundle {directory}: {listed(refused, most=5)} {what}.", _AGAIN)
