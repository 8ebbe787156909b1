"""A bundle's `.zip`: int8 files as xz where that is much smaller, and nothing trusted on the way back."""

from __future__ import annotations

import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.bundles import load_bundle, open_bundle
from edgeconv.errors import BundleError
from edgeconv.export.bundle import bare_manifest, place_artifact, write_bundle
from edgeconv.files import sha256_bytes
from edgeconv.manifest import Artifact
from edgeconv.packing import pack_bundle, packed_bytes, squeezed

CHANNELS = 24


def _maps(seed: int = 0) -> bytes:
    """Smooth channels-last maps, each channel with its own level, then noise."""
    rng = np.random.default_rng(seed)
    slopes, levels = rng.uniform(0.1, 0.4, CHANNELS), rng.uniform(0, 255, CHANNELS)
    smooth = levels + slopes * np.arange(128 * 128)[:, None] + rng.normal(0, 0.4, (128 * 128, CHANNELS))
    return smooth.astype(np.int64).astype(np.uint8).tobytes() + rng.integers(0, 256, 30_000, np.uint8).tobytes()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A bundle with the same bytes in int8 and in fp32, and an int8 file that nothing makes smaller."""
    contents = {"m.int8.x": ("int8", _maps()), "m.fp32.x": ("fp32", _maps()), "n.int8.x": ("int8", b"\x07\x91")}
    artifacts, sources = [], {}
    for name, (precision, data) in contents.items():
        (tmp_path / name).write_bytes(data)
        artifact = place_artifact(Artifact(name, sha256_bytes(data), len(data), "onnxruntime", precision, [], []))
        artifacts.append(artifact)
        sources[artifact.path] = tmp_path / name
    write_bundle(tmp_path / "b", bare_manifest("b", "t", "host", [], [], artifacts), sources, {"input.x": np.zeros(1)})
    return tmp_path / "b"


def test_an_int8_file_is_half_of_what_deflate_leaves(written: Path) -> None:
    sizes = packed_bytes(pack_bundle(written, load_bundle(written).manifest))
    assert sizes["models/m.int8.x"] < 0.5 * sizes["models/m.fp32.x"]


def test_it_opens_as_the_directory_does(written: Path) -> None:
    bundle = load_bundle(written)
    packed = pack_bundle(written, bundle.manifest)
    with zipfile.ZipFile(packed) as archive:
        assert {n for n in archive.namelist() if "/m." in n or "/n." in n} == {
            "models/m.int8.x.xz",
            "models/m.fp32.x",
            "models/n.int8.x",
        }
    with open_bundle(packed) as opened:
        assert opened.manifest == bundle.manifest
        assert (opened.directory / "models/m.int8.x").read_bytes() == _maps()


def test_the_same_content_packs_to_the_same_bytes(written: Path) -> None:
    manifest = load_bundle(written).manifest
    assert pack_bundle(written, manifest).read_bytes() == pack_bundle(written, manifest).read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 90))
def test_whatever_the_bytes_they_come_back(data: bytes, times: int) -> None:
    assert lzma.decompress(squeezed(data * times)) == data * times if data else squeezed(data) == b""


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"no xz at all", "cannot be unpacked"),
        (lzma.compress(_maps())[:-40], "cannot be unpacked"),
        (lzma.compress(_maps(1)), "changed since the export"),
        (lzma.compress(bytes(64 << 20)), "changed since the export"),
    ],
    ids=["foreign", "cut off", "another file", "far more than was said"],
)
def test_what_is_not_the_file_is_refused(written: Path, tmp_path: Path, contents: bytes, message: str) -> None:
    packed = pack_bundle(written, load_bundle(written).manifest)
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(packed) as archive, zipfile.ZipFile(broken, "w") as other:
        for name in archive.namelist():
            other.writestr(name, contents if name.endswith(".xz") else archive.read(name))
    with pytest.raises(BundleError, match=message), open_bundle(broken):
        pass
