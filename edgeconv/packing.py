"""A bundle as one `.zip`, in which int8 model files are `.xz` where that is much smaller.

Feature maps and folded gates of a channels-last file have a neighbour's value one pixel further, so many bytes away as
there are channels. xz knows this as its delta filter; what distance fits is found by blocks, and each stretch of the
file is a stream with its own. Any `xz -d` undoes it.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeconv.bundles import AGENT_PATH, XZ, bundle_entries
from edgeconv.files import ZIP_DATE, atomic_write_bytes
from edgeconv.manifest import MANIFEST_NAME, Manifest

__all__ = ["pack_bundle", "packed_bytes", "packed_path", "squeezed"]

_COMPRESSED = (".whl", ".gz")
_SQUEEZED = "int8"  # float files take xz minutes; whoever counts bytes does not ship them
_WORTH = 0.8  # of what deflate leaves
_BLOCK = 1 << 16
_DISTANCES = (1, 2, 4, *range(8, 257, 8))
_MARGIN = 0.9  # of the entropy without a delta
_PRESET = 6


def packed_path(directory: Path) -> Path:
    """Where `pack_bundle` puts a bundle."""
    return directory.with_name(directory.name + ".zip")


def pack_bundle(directory: Path, manifest: Manifest) -> Path:
    """The same bundle as one `.zip` beside the directory; the same content gives the same bytes."""
    path = packed_path(directory)
    squeezable = {name for a in manifest.artifacts if a.precision == _SQUEEZED for name in a.paths}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted({MANIFEST_NAME, *(entry.path for entry in bundle_entries(manifest))}):
            data = (directory / name).read_bytes()
            method = zipfile.ZIP_STORED if name.endswith(_COMPRESSED) else zipfile.ZIP_DEFLATED
            if name in squeezable and (smaller := _if_worth(data)) is not None:
                name, data, method = name + XZ, smaller, zipfile.ZIP_STORED
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.external_attr = (0o755 if name == AGENT_PATH else 0o644) << 16
            archive.writestr(info, data, method)
    atomic_write_bytes(path, stream.getvalue())
    return path


def packed_bytes(path: Path) -> dict[str, int]:
    """What each file of a bundle takes in its `.zip`, by path in the bundle."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename.removesuffix(XZ): info.compress_size for info in archive.infolist()}


def squeezed(data: bytes) -> bytes:
    """As xz, one stream for each stretch of the data."""
    return b"".join(_streams(data))


def _if_worth(data: bytes) -> bytes | None:
    smaller = squeezed(data)
    return smaller if len(smaller) < _WORTH * len(zlib.compress(data, 9)) else None


def _streams(data: bytes) -> Iterator[bytes]:
    for start, end, distance in _stretches(data):
        filters: list[dict[str, int]] = [{"id": lzma.FILTER_LZMA2, "preset": _PRESET}]
        if distance:
            filters.insert(0, {"id": lzma.FILTER_DELTA, "dist": distance})
        yield lzma.compress(data[start:end], lzma.FORMAT_XZ, filters=filters)


def _stretches(data: bytes) -> list[tuple[int, int, int]]:
    """(start, end, distance of the delta or 0), neighbouring blocks with the same distance joined."""
    found: list[tuple[int, int, int]] = []
    for start in range(0, len(data), _BLOCK):
        end = min(start + _BLOCK, len(data))
        distance = _best_distance(np.frombuffer(data, np.uint8, end - start, start))
        if found and found[-1][2] == distance:
            start = found.pop()[0]
        found.append((start, end, distance))
    return found


def _best_distance(block: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    least, best = _MARGIN * _entropy(block), 0
    for distance in _DISTANCES:
        entropy = _entropy(block[distance:] - block[:-distance]) if distance < len(block) else np.inf
        if entropy < least:
            least, best = entropy, distance
    return best


def _entropy(values: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> float:
    """Bits of a byte when each is coded by itself."""
    counts = np.bincount(values, minlength=256)
    shares = counts[counts > 0] / max(len(values), 1)
    return float(-(shares * np.log2(shares)).sum())
