from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundles import PACK_PATH, load_bundle, open_bundle
from edgeconv.errors import BundleError, UsageError
from edgeconv.export.bundle import place_artifact, write_bundle
from edgeconv.files import sha256_file
from edgeconv.manifest import Artifact, Manifest, ModelIdentity, Normalisation, Port, TensorSpec
from edgeconv.packing import pack_bundle


@pytest.fixture
def written(tmp_path: Path) -> Path:
    _write(tmp_path / "b")
    return tmp_path / "b"


def _write(path: Path, force: bool = False) -> Manifest:
    model = path.parent / "model.fp32.onnx"
    model.write_bytes(b"model")
    spec = TensorSpec("x", "x", [1, 1, 4, 4], "NCHW", "float32")
    artifact = place_artifact(Artifact(model.name, sha256_file(model), 5, "onnxruntime", "fp32", [spec], [spec]))
    manifest = Manifest(
        schema_version=1,
        name="b",
        model=ModelIdentity("m", "m.py:f", None, 3, 9, "exact"),
        device="host",
        inputs=[Port("x", [1, 1, 4, 4], "uint8", "NCHW", Normalisation(1 / 255, [0.0], [1.0]))],
        outputs=[Port("y", [1, 1, 4, 4], "float32", "NCHW")],
        artifacts=[artifact],
        files=[],
        failures=[],
        rewrites=[],
        tolerances=[],
        metric=None,
        quantisation={},
        tools={},
        reproduce=["edgeconv"],
    )
    golden = {"input.x": np.zeros((2, 1, 1, 4, 4), np.uint8), "torch.y": np.zeros((2, 1, 1, 4, 4), np.float32)}
    return write_bundle(path, manifest, {artifact.path: model}, golden, force=force)


def test_a_written_bundle_opens_and_has_every_file_hashed(written: Path) -> None:
    bundle = load_bundle(written)
    assert {entry.path for entry in bundle.manifest.files} == {"golden/cases.npz", "agent.pyz", "README.md"}
    assert np.load(bundle.golden)["input.x"].shape == (2, 1, 1, 4, 4)
    assert "agent.pyz run --runtime onnxruntime" in (written / "README.md").read_text()


def test_the_same_content_gives_the_same_bytes(written: Path) -> None:
    before = {p: p.read_bytes() for p in written.rglob("*") if p.is_file()}
    first = pack_bundle(written, load_bundle(written).manifest).read_bytes()
    manifest = _write(written, force=True)
    assert {p: p.read_bytes() for p in written.rglob("*") if p.is_file()} == before
    assert pack_bundle(written, manifest).read_bytes() == first


def test_the_zip_opens_like_the_directory(written: Path) -> None:
    packed = pack_bundle(written, load_bundle(written).manifest)
    with open_bundle(packed) as bundle:
        assert bundle.manifest.name == "b"
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("extra.txt", "x")
    with pytest.raises(BundleError, match="not in the manifest"), open_bundle(packed):
        pass


def test_a_file_that_two_runtimes_share_is_packed_once(written: Path) -> None:
    manifest = load_bundle(written).manifest
    twin = dataclasses.replace(manifest.artifacts[0], runtime="another")
    with zipfile.ZipFile(
        pack_bundle(written, dataclasses.replace(manifest, artifacts=[*manifest.artifacts, twin]))
    ) as archive:
        assert sorted(archive.namelist()) == sorted(set(archive.namelist()))


def test_what_is_supplied_is_hashed_and_told_in_the_readme(written: Path, tmp_path: Path) -> None:
    (tmp_path / "python.tar.gz").write_bytes(b"a pack")
    manifest = load_bundle(written).manifest
    sources = {entry.path: written / entry.path for entry in manifest.artifacts}
    supply = {PACK_PATH: tmp_path / "python.tar.gz", "wheels/note.txt": b"text"}
    write_bundle(tmp_path / "supplied", manifest, sources, {}, supply)
    bundle = load_bundle(tmp_path / "supplied")
    assert {PACK_PATH, "wheels/note.txt"} < {entry.path for entry in bundle.manifest.files}
    assert (bundle.directory / PACK_PATH).read_bytes() == b"a pack"
    assert "python/run agent.pyz run" in (bundle.directory / "README.md").read_text()


def test_an_existing_bundle_is_kept_unless_forced(written: Path) -> None:
    (written / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="kept as it is"):
        _write(written)
    assert (written / "mine.txt").exists()
