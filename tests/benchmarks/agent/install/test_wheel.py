from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.install.wheel import unpack_wheel, unpacked_bytes
from edgeconv.errors import BundleError

from .conftest import record_hash, write_wheel


@pytest.fixture
def wheel(tmp_path):
    return lambda files, version="1.0": write_wheel(tmp_path / "array-1.2-py3-none-any.whl", files, version)


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


def test_modules_and_the_modules_of_the_data_folder_go_to_one_place(wheel, site):
    files = {
        "array/__init__.py": b"1",
        "array/core/_c.so": b"2",
        "array-1.2.data/purelib/array/pure.py": b"3",
        "array-1.2.data/platlib/array/plat.so": b"4",
        "array-1.2.data/scripts/array-tool": b"#!python\n",
        "array-1.2.data/data/share/array.txt": b"5",
        "array-1.2.data/headers/array.h": b"6",
    }
    unpack_wheel(wheel(files), site)
    found = {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert {name for name in found if name.startswith("array/")} == {
        *("array/__init__.py", "array/core/_c.so", "array/pure.py", "array/plat.so")
    }
    assert not any(".data" in name or "tool" in name for name in found)


def test_the_record_lists_what_is_there(wheel, site):
    unpack_wheel(wheel({"array/__init__.py": b"1", "array-1.2.data/purelib/array/pure.py": b"3"}), site)
    with (site / "array-1.2.dist-info/RECORD").open(newline="") as stream:
        rows = {path: (digest, size) for path, digest, size in csv.reader(stream)}
    assert set(rows) == {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    for path, (digest, size) in rows.items():
        if path != "array-1.2.dist-info/RECORD":
            data = (site / path).read_bytes()
            assert (digest, size) == (f"sha256={record_hash(data)}", str(len(data)))


def test_python_finds_the_installed_version(wheel, site):
    from importlib import metadata

    unpack_wheel(wheel({"array/__init__.py": b""}), site)
    assert [d.version for d in metadata.distributions(name="array", path=[str(site)])] == ["1.2"]


@pytest.mark.parametrize(
    "name",
    ["../out.py", "/out.py", "array/../../out.py", "array-1.2.data/purelib/../../out.py", "a\\..\\out.py", "C:out.py"],
)
def test_a_path_that_leaves_the_folder_is_refused(wheel, site, name):
    with pytest.raises(BundleError, match="may leave the folder"):
        unpack_wheel(wheel({name: b"bad"}), site)
    assert not list(site.parent.rglob("out.py"))


def test_a_link_is_refused(wheel, site):
    path = wheel({"array/__init__.py": b""})
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("array/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BundleError, match="may leave the folder"):
        unpack_wheel(path, site)


def test_what_is_no_wheel_is_refused(wheel, site, tmp_path):
    with pytest.raises(BundleError, match=r"format 2\.0"):
        unpack_wheel(wheel({"array/__init__.py": b""}, "2.0"), site)
    with zipfile.ZipFile(tmp_path / "bare.whl", "w") as archive:
        archive.writestr("array/__init__.py", "")
    with pytest.raises(BundleError, match="no wheel"):
        unpack_wheel(tmp_path / "bare.whl", site)
    (tmp_path / "text.whl").write_text("not a zip")
    with pytest.raises(BundleError, match="no wheel"):
        unpack_wheel(tmp_path / "text.whl", site)


def test_room_is_that_of_the_unpacked_files(wheel):
    assert 100_000 <= unpacked_bytes(wheel({"array/big": bytes(100_000)})) < 101_000


def test_an_installed_wheel_equals_the_one_pip_installs(site, tmp_path):
    """A real wheel of many files, against the same installed in this environment."""
    from importlib import metadata

    import packaging

    distribution = metadata.distribution("packaging")
    files = [file for file in distribution.files or [] if file.suffix == ".py"]
    installed = {str(file): Path(str(distribution.locate_file(file))).read_bytes() for file in files}
    unpack_wheel(write_wheel(tmp_path / "packaging-1.0-py3-none-any.whl", installed), site)
    assert {name: (site / name).read_bytes() for name in installed} == installed
    assert packaging.__version__
