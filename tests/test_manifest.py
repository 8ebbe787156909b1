from __future__ import annotations

import json

import pytest

from edgeconv.errors import BundleError
from edgeconv.manifest import SCHEMA_VERSION, read_manifest


@pytest.fixture
def document(tiny_bundle):
    return json.loads((tiny_bundle / "manifest.json").read_text())


def write(directory, document):
    (directory / "manifest.json").write_text(document if isinstance(document, str) else json.dumps(document))


def test_the_fixed_names_are_there(document):
    for artifact in document["artifacts"]:
        assert {"path", "sha256", "bytes", "runtime", "precision"} <= set(artifact)


def test_an_artifact_is_found_by_runtime_and_precision(tiny_bundle):
    manifest = read_manifest(tiny_bundle)
    found = manifest.artifact("openvino", "fp16")
    assert found.path == "models/model.fp16.xml"
    assert found.total_bytes == sum((tiny_bundle / f"models/model.fp16.{e}").stat().st_size for e in ("xml", "bin"))
    with pytest.raises(BundleError, match=r"no tensorrt int8 artefact\. It has: litert int8"):
        manifest.artifact("tensorrt", "int8")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is no bundle: it has no manifest"):
        read_manifest(tmp_path)
    with pytest.raises(BundleError, match="is no bundle"):
        read_manifest(tmp_path / "absent")


def test_a_newer_schema_is_told_apart_from_damage(tiny_bundle, document):
    newer = {"schema_version": SCHEMA_VERSION + 1, "what": "nobody knows yet"}
    write(tiny_bundle, newer)
    with pytest.raises(BundleError, match=rf"schema version {SCHEMA_VERSION + 1}.*Update edgeconv"):
        read_manifest(tiny_bundle)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"text"', "\x00\x01"])
def test_what_is_no_manifest_is_refused(text, tiny_bundle):
    write(tiny_bundle, text)
    with pytest.raises(BundleError, match="damaged or foreign"):
        read_manifest(tiny_bundle)


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_cut_manifest_is_refused(cut, tiny_bundle):
    text = (tiny_bundle / "manifest.json").read_text()
    write(tiny_bundle, text[:-cut])
    if cut > 1:  # the last character is the final newline
        with pytest.raises(BundleError, match="damaged or foreign"):
            read_manifest(tiny_bundle)


def test_bytes_that_are_no_text_are_refused(tiny_bundle):
    (tiny_bundle / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="cannot be read"):
        read_manifest(tiny_bundle)


def test_a_manifest_that_is_a_folder_is_refused(tiny_bundle):
    (tiny_bundle / "manifest.json").unlink()
    (tiny_bundle / "manifest.json").mkdir()
    with pytest.raises(BundleError, match="cannot be read"):
        read_manifest(tiny_bundle)


def test_an_unknown_and_a_missing_key_are_named(tiny_bundle, document):
    write(tiny_bundle, {**document, "colour": "red"})
    with pytest.raises(BundleError, match="unknown key 'colour'"):
        read_manifest(tiny_bundle)
    del document["artifacts"][0]["sha256"]
    write(tiny_bundle, document)
    with pytest.raises(BundleError, match=r"artifacts\[0\]: missing key 'sha256'"):
        read_manifest(tiny_bundle)


def test_absurdly_nested_json_is_refused(tiny_bundle):
    (tiny_bundle / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(BundleError):
        read_manifest(tiny_bundle)
