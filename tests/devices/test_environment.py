"""The Python that a target measures with, on this machine as the target: the same code as over SSH."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.install import LOCK_NAME, LockedWheel, WheelLock
from edgeconv.bundles import LOCK_PATH, PACK_PATH, WHEELS_PATH, load_bundle
from edgeconv.devices.environment import prepare_python
from edgeconv.devices.transports.local import LocalTransport
from edgeconv.errors import DeviceError
from edgeconv.export.bundle import write_bundle
from edgeconv.manifest import read_manifest

MACHINE = os.uname().machine
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Remote(LocalTransport):
    """This machine as if it were another one, with what it runs counted."""

    def __init__(self, folder: Path, **system: str | int | None) -> None:
        super().__init__()
        self.folder = str(folder)
        self.system = dataclasses.replace(self.system, **system)
        self.commands: list[list[str]] = []

    def run(self, command, **settings):
        self.commands.append(list(command))
        return super().run(command, **settings)


@pytest.fixture
def remote(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeconv.devices.environment.LocalTransport", type("NotThis", (), {}))
    opened = []

    def opened_as(**system):
        opened.append(Remote(tmp_path / "folder of ours", **system))
        return opened[-1]

    yield opened_as
    for transport in opened:
        transport.close()


@pytest.fixture
def with_supply(tiny_bundle, tmp_path):
    """The tiny bundle with what --with-wheels adds."""

    def made(supply):
        manifest = read_manifest(tiny_bundle)
        sources = {path: tiny_bundle / path for artifact in manifest.artifacts for path in artifact.paths}
        write_bundle(tmp_path / "bundle", manifest, sources, {}, supply, force=True)
        return load_bundle(tmp_path / "bundle")

    return made


@pytest.fixture
def wheels(tmp_path):
    """One wheel and its lock."""

    def made(value: int = 1, **lock: str):
        wheel = tmp_path / "array-1.2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("array_/__init__.py", f"value = {value}\n")
            archive.writestr("array_-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\n")
            archive.writestr("array_-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: array_\nVersion: 1.2\n")
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        target = {"machine": MACHINE, "python": PYTHON, "glibc": "2.17", **lock}
        text = WheelLock(wheels=[LockedWheel("array", "1.2", sha256, wheel.name)], **target).text()
        return {f"{WHEELS_PATH}/{wheel.name}": wheel, f"{WHEELS_PATH}/{LOCK_NAME}": text.encode()}

    return made


@pytest.fixture
def pack(tmp_path):
    """An archive that starts as a pack does; its Python is this machine's, since an arm64 one does not run here."""

    def made(*, damaged: bool = False):
        folder = tmp_path / "pack"
        folder.mkdir(exist_ok=True)
        (folder / "run").write_text(f'#!/no/such/sh\nexec "{sys.executable}" "$@"\n')
        path = tmp_path / "python.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder / "run", "run")
        if damaged:
            path.write_bytes(path.read_bytes()[:-40])
        return {PACK_PATH: path}

    return made


def out(transport, command):
    done = transport.run(command, environment={}, timeout_seconds=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_wheels_the_targets_own_python_is_taken_and_nothing_is_asked(remote, tiny_bundle):
    target = remote()
    assert prepare_python(target, load_bundle(tiny_bundle), str(tiny_bundle)) == target.python
    assert target.commands == []


def test_wheels_go_into_an_environment_of_ours_once(remote, with_supply, wheels):
    bundle = with_supply(wheels())
    target = remote()
    command = prepare_python(target, bundle, str(bundle.directory))
    assert command[0].startswith(f"{target.folder}/environments/")
    assert out(target, [*command, "-c", "import array_; print(array_.value)"]) == "1"
    target.commands.clear()
    assert prepare_python(target, bundle, str(bundle.directory)) == command
    assert len(target.commands) == 1  # a look, no Python started


def test_other_wheels_get_another_environment(remote, with_supply, wheels):
    target = remote()
    first = prepare_python(target, (bundle := with_supply(wheels(1))), str(bundle.directory))
    second = prepare_python(target, (bundle := with_supply(wheels(2))), str(bundle.directory))
    assert first != second
    assert [out(target, [*c, "-c", "import array_; print(array_.value)"]) for c in (first, second)] == ["1", "2"]


def test_an_environment_that_is_not_whole_is_made_again(remote, with_supply, wheels):
    bundle = with_supply(wheels())
    target = remote()
    command = prepare_python(target, bundle, str(bundle.directory))
    marker = Path(command[0]).parents[1] / "edgeconv.json"
    marker.write_text(marker.read_text()[:20])
    assert prepare_python(target, bundle, str(bundle.directory)) == command
    assert out(target, [*command, "-c", "import array_; print(array_.value)"]) == "1"


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ({"machine": "riscv64"}, "the target has riscv64"),
        ({"python_version": "3.7.3"}, "the target has Python 3.7.3"),
        ({"python_version": None}, "the target has no Python"),
        ({"bits": 32}, "32-bit programs"),
    ],
)
def test_a_target_that_the_wheels_are_not_for_is_told_before_anything_runs(remote, with_supply, wheels, system, words):
    bundle = with_supply(wheels())
    target = remote(**system)
    with pytest.raises(DeviceError, match=words) as caught:
        prepare_python(target, bundle, str(bundle.directory))
    assert f"for {MACHINE}, Python {PYTHON}" in caught.value.message
    assert "devices probe" in caught.value.hint
    assert target.commands == []


def test_a_c_library_that_is_too_old_is_told_by_the_agent(remote, with_supply, wheels):
    bundle = with_supply(wheels(glibc="2.99"))
    with pytest.raises(DeviceError, match=r"glibc >= 2\.99; here are"):
        prepare_python(remote(), bundle, str(bundle.directory))


def test_a_wheel_that_was_damaged_on_the_way_is_told(remote, with_supply, wheels):
    bundle = with_supply(wheels())
    next((bundle.directory / WHEELS_PATH).glob("*.whl")).write_bytes(b"damaged")
    with pytest.raises(DeviceError, match="was changed since the export"):
        prepare_python(remote(), bundle, str(bundle.directory))


def test_here_another_devices_bundle_runs_with_what_is_installed_here(with_supply, wheels, pack):
    here = LocalTransport()
    try:
        other = "riscv64"
        bundle = with_supply(wheels(machine=other))
        assert prepare_python(here, bundle, str(bundle.directory)) == here.python
        here.system = dataclasses.replace(here.system, machine=other)
        bundle = with_supply(pack())
        assert prepare_python(here, bundle, str(bundle.directory)) == here.python
    finally:
        here.close()


def test_a_pack_is_unpacked_once_and_started_by_the_targets_shell(remote, with_supply, pack):
    bundle = with_supply(pack())
    target = remote(machine="aarch64", python_version=None)
    target.python = []
    command = prepare_python(target, bundle, str(bundle.directory))
    assert out(target, [*command, "-c", "print(6 * 7)"]) == "42"
    assert "no/such" not in Path(command[0]).read_text()
    target.commands.clear()
    assert prepare_python(target, bundle, str(bundle.directory)) == command
    assert len(target.commands) == 1


def test_what_an_unpacking_left_that_was_cut_short_is_no_hindrance(remote, with_supply, pack):
    bundle = with_supply(pack())
    target = remote(machine="aarch64")
    folder = Path(prepare_python(target, bundle, str(bundle.directory))[0]).parent
    (folder / "run").unlink()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (folder.parent / f"{folder.name}.{ended.pid}").mkdir()
    command = prepare_python(target, bundle, str(bundle.directory))
    assert out(target, [*command, "-c", "print(6 * 7)"]) == "42"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_pack_that_cannot_be_unpacked_leaves_nothing(remote, with_supply, pack):
    bundle = with_supply(pack(damaged=True))
    target = remote(machine="aarch64")
    with pytest.raises(DeviceError, match="could not be unpacked"):
        prepare_python(target, bundle, str(bundle.directory))
    assert list((Path(target.folder) / "packs").iterdir()) == []


def test_a_pack_is_for_arm64(remote, with_supply, pack):
    bundle = with_supply(pack())
    with pytest.raises(DeviceError, match="target is riscv64"):
        prepare_python(remote(machine="riscv64"), bundle, str(bundle.directory))


@pytest.mark.parametrize(("version", "words"), [(None, "has no Python"), ("3.7.3", "has Python 3.7.3")])
def test_no_python_anywhere_is_told_with_what_brings_one(remote, tiny_bundle, version, words):
    target = remote(python_version=version)
    target.python = []
    with pytest.raises(DeviceError, match=words) as caught:
        prepare_python(target, load_bundle(tiny_bundle), str(tiny_bundle))
    assert "--with-wheels" in caught.value.hint


def test_the_paths_in_a_bundle_are_those_of_the_lock():
    assert f"{WHEELS_PATH}/{LOCK_NAME}" == LOCK_PATH
