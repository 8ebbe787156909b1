from __future__ import annotations

import json
import lzma
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from edgeconv.bundles import bundle_entries, load_bundle, open_bundle, safe_path
from edgeconv.errors import BundleError
from edgeconv.files import sha256_file


def packed(bundle: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in bundle.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(bundle).as_posix())
    return path


def test_an_unchanged_bundle_opens(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    assert bundle.directory == tiny_bundle
    assert bundle.manifest_sha256 == sha256_file(tiny_bundle / "manifest.json")
    assert bundle.golden.is_file()
    listed = {entry.path for entry in bundle_entries(bundle.manifest)}
    on_disk = {p.relative_to(tiny_bundle).as_posix() for p in tiny_bundle.rglob("*") if p.is_file()}
    assert on_disk - listed == {"manifest.json"}


def test_each_file_is_guarded_against_a_flipped_bit(tiny_bundle):
    for entry in bundle_entries(load_bundle(tiny_bundle).manifest):
        path = tiny_bundle / entry.path
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[-1] ^= 1
        path.write_bytes(bytes(flipped))
        with pytest.raises(BundleError, match=f"{entry.path} has been changed"):
            load_bundle(tiny_bundle)
        path.write_bytes(whole)
    load_bundle(tiny_bundle)


def test_a_cut_file_is_changed(tiny_bundle):
    path = tiny_bundle / "models/model.int8.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"model\.int8\.tflite has been changed"):
        load_bundle(tiny_bundle)


def test_a_missing_file_is_named(tiny_bundle):
    (tiny_bundle / "models/model.fp16.bin").unlink()
    with pytest.raises(BundleError, match=r"models/model\.fp16\.bin is missing"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize("name", ["models/extra.onnx", "sitecustomize.py", ".hidden", "new/deep/file"])
def test_an_extra_file_is_named(name, tiny_bundle):
    (tiny_bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (tiny_bundle / name).write_text("x")
    with pytest.raises(BundleError, match=f"{name} is not in the manifest"):
        load_bundle(tiny_bundle)


def test_many_extra_files_are_counted(tiny_bundle):
    for index in range(9):
        (tiny_bundle / f"extra{index}").write_text("x")
    with pytest.raises(BundleError, match="and 4 more"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_is_refused_even_to_the_right_content(inside, tiny_bundle, tmp_path):
    path = tiny_bundle / "models/model.fp32.onnx"
    other = tiny_bundle / "models" / "moved" if inside else tmp_path / "moved"
    shutil.move(path, other)
    path.symlink_to(other)
    with pytest.raises(BundleError, match=r"no plain file|link that leaves"):
        load_bundle(tiny_bundle)


def test_a_linked_folder_is_refused(tiny_bundle, tmp_path):
    shutil.move(tiny_bundle / "models", tmp_path / "models")
    (tiny_bundle / "models").symlink_to(tmp_path / "models")
    with pytest.raises(BundleError, match=r"link that leaves"):
        load_bundle(tiny_bundle)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_reading_it(tiny_bundle):
    os.mkfifo(tiny_bundle / "pipe")
    with pytest.raises(BundleError, match="pipe is no plain file"):
        load_bundle(tiny_bundle)


ESCAPES = ["../outside", "/etc/passwd", "models/../../outside", "a\\..\\b", "C:/x", "C:\\x", "", "nul\0byte"]


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_may_leave_the_bundle_is_refused(path, tiny_bundle):
    with pytest.raises(BundleError, match="may leave it"):
        safe_path(tiny_bundle, path)


@pytest.mark.parametrize("where", ["artifacts", "files"])
@pytest.mark.parametrize("path", ["../outside", "/etc/passwd"])
def test_a_manifest_that_names_such_a_path_is_refused(where, path, tiny_bundle):
    document = json.loads((tiny_bundle / "manifest.json").read_text())
    document[where][0]["path"] = path
    (tiny_bundle / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="may leave it"):
        load_bundle(tiny_bundle)


def test_a_path_named_twice_with_different_hashes_is_refused(tiny_bundle):
    document = json.loads((tiny_bundle / "manifest.json").read_text())
    document["files"].append({**document["files"][0], "sha256": "0" * 64})
    (tiny_bundle / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="twice with different hashes"):
        load_bundle(tiny_bundle)


def test_the_zip_opens_like_the_directory_and_is_removed_afterwards(tiny_bundle, tmp_path):
    path = packed(tiny_bundle, tmp_path / "b.zip")
    with open_bundle(path) as bundle:
        assert bundle.manifest == load_bundle(tiny_bundle).manifest
        unpacked = bundle.directory
    assert not unpacked.exists()
    with open_bundle(tiny_bundle) as bundle:
        assert bundle.directory == tiny_bundle


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_zip_with_a_path_that_leaves_it_is_refused(name, tiny_bundle, tmp_path):
    path = packed(tiny_bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(BundleError, match="may leave it"), open_bundle(path):
        pass
    assert not (tmp_path / "outside").exists()


def test_a_zip_with_a_link_is_refused(tiny_bundle, tmp_path):
    path = packed(tiny_bundle, tmp_path / "b.zip")
    link = zipfile.ZipInfo("models/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BundleError, match="is a link"), open_bundle(path):
        pass


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_cut_zip_is_refused(cut, tiny_bundle, tmp_path):
    path = packed(tiny_bundle, tmp_path / "b.zip")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BundleError, match="is no bundle"), open_bundle(path):
        pass


def test_a_zip_with_a_damaged_member_is_refused(tiny_bundle, tmp_path):
    path = packed(tiny_bundle, tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    at = data.find((tiny_bundle / "models/model.fp32.onnx").read_bytes()[:64])
    assert at > 0
    data[at + 5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"is no bundle|has been changed"), open_bundle(path):
        pass


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(BundleError, match="There is no bundle at"), open_bundle(tmp_path / "absent"):
        pass
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(BundleError, match="is no bundle"), open_bundle(tmp_path / "text.txt"):
        pass


def test_a_newer_bundle_asks_for_an_update(tiny_bundle):
    document = json.loads((tiny_bundle / "manifest.json").read_text())
    (tiny_bundle / "manifest.json").write_text(json.dumps({**document, "schema_version": 99, "new": 1}))
    with pytest.raises(BundleError, match="Update edgeconv"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("size", "words"), [(-2, "expected a size"), (10**30, "has been changed"), (0, "has been changed")]
)
def test_a_squeezed_file_is_unpacked_no_further_than_the_manifest_says(size, words, tiny_bundle, tmp_path):
    document = json.loads((tiny_bundle / "manifest.json").read_text())
    artifact = document["artifacts"][0]
    path = tiny_bundle / artifact["path"]
    Path(f"{path}.xz").write_bytes(lzma.compress(path.read_bytes()))
    path.unlink()
    artifact["bytes"] = size
    (tiny_bundle / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=words), open_bundle(packed(tiny_bundle, tmp_path / "b.zip")):
        pass


def test_what_is_wrong_in_a_zip_is_told_of_the_zip(tiny_bundle, tmp_path):
    (tiny_bundle / "README.md").unlink()
    path = packed(tiny_bundle, tmp_path / "b.zip")
    with pytest.raises(BundleError) as told, open_bundle(path):
        pass
    assert told.value.message.startswith(f"Bundle {path}: README.md is missing")
