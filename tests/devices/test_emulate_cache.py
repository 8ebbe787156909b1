"""What is built once, the tools that build it, and where its packages come from."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeconv.devices.emulate import tools
from edgeconv.devices.emulate.cache import build_once, cache_root, content_key, locked
from edgeconv.devices.emulate.tools import require_tools, run_tool
from edgeconv.devices.emulate.tree import host_mirror
from edgeconv.errors import DeviceError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fill(directory: Path) -> None:
    (directory / "made").write_text("once")


def test_a_second_asking_builds_nothing():
    first = build_once("thing", "k", fill)
    (first / "made").write_text("kept")
    assert build_once("thing", "k", fill) == first
    assert (first / "made").read_text() == "kept"
    assert (build_once("thing", "k", fill, rebuild=True) / "made").read_text() == "once"


def test_a_build_that_fails_leaves_nothing_and_can_be_tried_again():
    def fail(directory: Path) -> None:
        fill(directory)
        raise DeviceError("no network")

    with pytest.raises(DeviceError, match="no network"):
        build_once("thing", "k", fail)
    assert [path.name for path in cache_root().iterdir()] == ["thing.lock"]
    assert (build_once("thing", "k", fill) / "made").exists()


def test_of_two_builders_one_builds_and_the_other_waits():
    built = []

    def slowly(directory: Path) -> None:
        built.append(directory)
        time.sleep(0.3)
        fill(directory)

    found = []
    threads = [threading.Thread(target=lambda: found.append(build_once("thing", "k", slowly))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert set(found) == {cache_root() / "thing-k"}


def test_a_lock_whose_holder_was_killed_is_free(tmp_path):
    path = tmp_path / "lock"
    code = "import fcntl,sys,time; f=open(sys.argv[1],'a'); fcntl.flock(f,2); print('held',flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DeviceError, match="held by another process"), locked(path, 0.2):
            pass
        holder.kill()
    with locked(path, 0.2):
        pass


def test_versions_that_nobody_used_for_long_are_removed():
    old, recent = build_once("thing", "old", fill), build_once("thing", "recent", fill)
    os.utime(old, (0, 0))
    build_once("thing", "new", fill)
    assert not old.exists()
    assert recent.exists()


def test_a_key_tells_apart_what_differs_only_in_where_it_is_cut(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"ab")
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key(path) == content_key("ab")


def test_a_missing_tool_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(tools, "find_tool", lambda name: None)
    monkeypatch.setattr(tools.platform, "system", lambda: "Linux")
    monkeypatch.setattr(tools.shutil, "which", lambda name, **_: "/usr/bin/dnf" if name == "dnf" else None)
    with pytest.raises(DeviceError, match="needs qemu-system-aarch64, mke2fs, debugfs") as caught:
        require_tools("qemu-system-aarch64", "mke2fs", "debugfs")
    assert caught.value.hint == "Install with: sudo dnf install qemu-system-aarch64 e2fsprogs"
    monkeypatch.setattr(tools.platform, "system", lambda: "Darwin")
    with pytest.raises(DeviceError) as caught:
        require_tools("qemu-system-aarch64")
    assert caught.value.hint == "Install with: brew install qemu"
    with pytest.raises(DeviceError, match="mmdebstrap") as caught:
        require_tools("mmdebstrap")
    assert "Debian or Ubuntu machine or container" in caught.value.hint


def test_a_tool_that_fails_is_quoted_and_one_that_hangs_is_ended(tmp_path, monkeypatch):
    script = tmp_path / "mke2fs"
    script.write_text('#!/bin/sh\n[ "$1" = sleep ] && exec sleep 30\necho "no space left" >&2\nexit 3\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DeviceError, match="mke2fs failed with exit code 3:\nno space left"):
        run_tool(["mke2fs"], timeout_seconds=10)
    with pytest.raises(DeviceError, match=r"mke2fs did not end within 0 s\."):
        run_tool(["mke2fs", "sleep"], timeout_seconds=0.2)


DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


@pytest.mark.parametrize(
    ("name", "text", "mirror"),
    [
        ("sources.list.d/debian.sources", DEB822, "http://mirror.example/debian"),
        ("sources.list.d/x.sources", DEB822.replace("Types: deb\nURIs", "Enabled: no\nURIs"), None),
        ("sources.list", "deb [arch=amd64] http://m.example/debian bookworm main contrib\n", "http://m.example/debian"),
        ("sources.list", "deb http://m.example/ubuntu noble main\n", None),
        ("sources.list", "deb http://m.example/debian bookworm contrib\n# deb http://n.example bookworm main\n", None),
        ("sources.list", "deb file:/media/cd bookworm main\n", None),
    ],
)
def test_the_mirror_is_the_hosts_own_where_it_has_the_same_suite(tmp_path, name, text, mirror):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert host_mirror("bookworm", tmp_path) == (mirror or "http://deb.debian.org/debian")
