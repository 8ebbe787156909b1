from __future__ import annotations

import dataclasses
import platform

import pytest

from edgeconv.benchmarks.agent.install import parse_lock
from edgeconv.bundles import LOCK_PATH, load_bundle
from edgeconv.devices.profile import load_profile
from edgeconv.errors import DeviceError, ExportError, UsageError
from edgeconv.export.bundle import write_bundle
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.export.wheels import make_supply
from edgeconv.files import sha256_bytes
from edgeconv.manifest import read_manifest
from edgeconv.packing import pack_bundle

from .conftest import MACHINE, PYTHON


@pytest.fixture
def profile():
    """This machine with an older glibc, and a runtime of the test's own."""
    host = load_profile("host")
    return dataclasses.replace(host, name="a-board", glibc="2.31", requirements={"litert": ["runtime"]})


@pytest.fixture
def runtime(publish):
    publish("runtime", "1.0", ["GLIBC_2.17"], ["array"])
    publish("runtime", "2.0", ["GLIBC_2.34"], ["array"])
    publish("array", "1.2")


def test_the_lock_names_every_wheel_by_its_hash_and_what_they_need(runtime, profile):
    supply = make_supply(profile, ["litert"])
    lock = parse_lock(supply[LOCK_PATH].decode())
    assert (lock.machine, lock.python, lock.glibc) == (MACHINE, PYTHON, "2.17")
    assert [(wheel.name, wheel.version) for wheel in lock.wheels] == [("array", "1.2"), ("runtime", "1.0")]
    for wheel in lock.wheels:
        assert sha256_bytes(supply[f"wheels/{wheel.filename}"].read_bytes()) == wheel.sha256


def test_a_bundle_holds_them_under_its_manifest(runtime, profile, tiny_bundle, tmp_path):
    supply = make_supply(profile, ["litert"])
    manifest = read_manifest(tiny_bundle)
    sources = {path: tiny_bundle / path for artifact in manifest.artifacts for path in artifact.paths}
    written = write_bundle(tmp_path / "with", manifest, sources, {}, supply)
    bundle = load_bundle(tmp_path / "with")
    assert set(supply) < {entry.path for entry in bundle.manifest.files}
    assert "agent.pyz install --into" in (bundle.directory / "README.md").read_text()
    packed = pack_bundle(bundle.directory, written)
    again = write_bundle(tmp_path / "again" / "with", manifest, sources, {}, supply)
    assert pack_bundle(tmp_path / "again" / "with", again).read_bytes() == packed.read_bytes()


def test_runtimes_that_come_with_the_system_get_no_wheels(runtime, profile):
    assert parse_lock(make_supply(profile, ["tensorrt", "litert"])[LOCK_PATH].decode()).wheels
    with pytest.raises(UsageError, match="none of tensorrt comes as a wheel"):
        make_supply(profile, ["tensorrt"])


def test_a_profile_that_no_wheel_fits_is_named(runtime, profile):
    old = dataclasses.replace(profile, glibc="2.12")
    with pytest.raises(ExportError, match=r"fit a-board .*glibc 2\.12"):
        make_supply(old, ["litert"])


@pytest.mark.skipif(platform.machine() == "aarch64", reason="there is a pack for this machine")
@pytest.mark.parametrize("python", ["", "3.6"])
def test_there_are_packs_for_arm64_only(publish, profile, python):
    publish("runtime", "1.0")
    with pytest.raises(DeviceError, match="no pack for"):
        make_supply(dataclasses.replace(profile, python=python), ["litert"])


def test_an_export_that_cannot_have_its_wheels_ends_before_anything_is_made(index, monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    stages: list[str] = []
    options = ExportOptions("vessels", devices=("raspberry-pi-5",), with_wheels=True, output=tmp_path / "bundles")
    with pytest.raises(ExportError, match="cannot reach the package registry"):
        build_bundle(options, stages.append)
    assert "trace" not in stages
    assert not (tmp_path / "bundles").exists()
