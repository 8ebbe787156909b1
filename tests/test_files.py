from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeconv.errors import UsageError
from edgeconv.files import (
    atomic_directory,
    atomic_write_bytes,
    cache_directory,
    check_writable,
    sha256_bytes,
    sha256_file,
    user_folder,
)


def test_atomic_write_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.bin"
    atomic_write_bytes(path, b"one")
    atomic_write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert sha256_file(tmp_path / "x") == sha256_bytes(b"abc" * 1_000_000)


def test_atomic_directory_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_directory(target) as directory:
        (directory / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"


def test_atomic_directory_leaves_nothing_when_the_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_directory(tmp_path / "out") as directory:
            (directory / "file").write_text("x")
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_atomic_directory_keeps_what_exists_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "precious").write_text("x")
    with pytest.raises(UsageError, match="kept as it is"), atomic_directory(target):
        pass
    assert (target / "precious").exists()
    with atomic_directory(target, force=True) as directory:
        (directory / "new").write_text("y")
        assert (target / "precious").exists()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_cache_is_where_the_system_says_and_its_absence_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_directory("wheels") == tmp_path / "cache/edgeconv/wheels"
    assert cache_directory("wheels").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be made"):
        cache_directory("wheels")


def test_a_user_without_a_home_folder_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder("XDG_STATE_HOME", ".local/state") == tmp_path / ".local/state/edgeconv"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # nobody's
    with pytest.raises(UsageError, match="no home folder") as told:
        user_folder("XDG_STATE_HOME", ".local/state")
    assert "HOME" in (told.value.hint or "")


@pytest.mark.parametrize("name", ["file/x.json", "folder", ""])
@pytest.mark.parametrize("write", [check_writable, lambda path: atomic_write_bytes(path, b"x")])
def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left_there(tmp_path: Path, write, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"cannot be written: .*Name another file"):
        write(tmp_path / name)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_to_ask_whether_a_file_can_be_written_leaves_it_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("kept")
    check_writable(path)
    check_writable(tmp_path / "new.json")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["kept"]
