from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.install import MARKER_NAME, install_wheels
from edgeconv.errors import BundleError, DeviceError

FILES = {"array/__init__.py": b"value = 1\n"}
SHOW = "import array_, sys; print(array_.value, sys.prefix)"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "device" / "environment"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_environments_python_imports_the_wheels_and_nothing_of_the_system(wheels, target):
    python = install_wheels(wheels({"array_/__init__.py": b"value = 1\n"}), target)
    done = subprocess.run([python, "-c", SHOW], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", str(target)]
    outside = subprocess.run([python, "-c", "import numpy"], capture_output=True, text=True, timeout=60, check=False)
    assert "No module named 'numpy'" in outside.stderr
    assert names(target.parent) == [target.name]


def test_it_is_made_once(wheels, target):
    directory = wheels(FILES)
    install_wheels(directory, target)
    before = (target / MARKER_NAME).stat().st_mtime_ns
    for path in directory.glob("*.whl"):
        path.unlink()
    assert install_wheels(directory, target) == target / "bin/python3"
    assert (target / MARKER_NAME).stat().st_mtime_ns == before


def test_another_lock_replaces_it(wheels, target):
    install_wheels(wheels(FILES), target)
    (target / "of the old one").touch()
    install_wheels(wheels({"array/__init__.py": b"value = 2\n"}), target)
    assert next(target.rglob("array/__init__.py")).read_bytes() == b"value = 2\n"
    assert "of the old one" not in names(target)
    assert names(target.parent) == [target.name]


def test_an_environment_whose_python_went_away_is_made_again(wheels, target):
    directory = wheels(FILES)
    install_wheels(directory, target)
    (target / "bin/python3").unlink()
    (target / "bin/python3").symlink_to("/usr/bin/python3.6-that-was-removed")
    assert subprocess.run([install_wheels(directory, target), "-c", "import array"], check=True, timeout=60)


@pytest.mark.parametrize("marker", [None, "", "[]", '{"lock": 1}', "\0"])
def test_what_was_left_half_made_is_made_again(wheels, target, marker):
    (target / "lib").mkdir(parents=True)
    if marker is not None:
        (target / MARKER_NAME).write_text(marker)
    install_wheels(wheels(FILES), target)
    assert json.loads((target / MARKER_NAME).read_text())["lock"]
    assert next(target.rglob("array/__init__.py")).read_bytes() == FILES["array/__init__.py"]


def test_leftovers_of_a_killed_installation_are_removed_and_a_running_ones_kept(wheels, target):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for owner in (ended.pid, os.getppid()):
        (target.parent / f".{target.name}.{owner}" / "lib").mkdir(parents=True)
    install_wheels(wheels(FILES), target)
    assert names(target.parent) == [f".{target.name}.{os.getppid()}", target.name]


def test_a_changed_or_missing_wheel_is_refused_and_nothing_is_left(wheels, target):
    directory = wheels(FILES)
    wheel = next(directory.glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(BundleError, match="was changed since the export"):
        install_wheels(directory, target)
    wheel.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        install_wheels(directory, target)
    assert not target.parent.exists()


def test_a_wheel_that_would_leave_the_environment_leaves_nothing(wheels, target):
    with pytest.raises(BundleError, match="may leave the folder"):
        install_wheels(wheels({"../../../../out.py": b""}), target)
    assert names(target.parent) == []


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ({"machine": "riscv64"}, "for riscv64"),
        ({"python": "3.5"}, "Python 3.5"),
        ({"glibc": "2.99"}, "glibc >= 2.99"),
    ],
)
def test_wheels_for_another_board_are_refused_with_what_is_here(wheels, target, lock, words):
    with pytest.raises(DeviceError) as caught:
        install_wheels(wheels(FILES, **lock), target)
    assert words in caught.value.message
    assert os.uname().machine in caught.value.message.split("; here are ")[1]
    assert "--with-wheels" in caught.value.hint
    assert not target.parent.exists()


def test_a_system_without_glibc_is_told_so(wheels, target, monkeypatch):
    def confstr(name: str) -> str:
        raise ValueError("unrecognized configuration name")  # as with musl

    monkeypatch.setattr(os, "confstr", confstr)
    with pytest.raises(DeviceError, match="no glibc"):
        install_wheels(wheels(FILES), target)


def test_a_full_disk_is_told_before_anything_is_written(wheels, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, 1 << 30, 1 << 20))
    with pytest.raises(DeviceError, match="1 MB are free") as caught:
        install_wheels(wheels(FILES), target)
    assert "Free some room" in caught.value.hint
    assert names(target.parent) == []


def test_a_folder_that_cannot_be_made_is_told(wheels, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match="cannot be installed into"):
        install_wheels(wheels(FILES), tmp_path / "file" / "environment")


def test_two_installations_at_once_both_end_well(wheels, target):
    directory = wheels({f"array/{i}.py": b"x" * 1000 for i in range(200)})
    code = "import sys; from pathlib import Path; from edgeconv.benchmarks.agent.install import install_wheels; "
    code += "print(install_wheels(Path(sys.argv[1]), Path(sys.argv[2])))"
    command = [sys.executable, "-c", code, str(directory), str(target)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for process in running:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.decode().strip() == str(target / "bin/python3")
    assert names(target.parent) == [target.name]
    assert len(list(target.rglob("array/*.py"))) == 200
