from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.install import LOCK_NAME, LockedWheel, WheelLock, parse_lock, read_lock
from edgeconv.errors import BundleError

from .conftest import write_wheel

digits = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
versions = st.from_regex(r"[0-9]+(\.[0-9]+){0,3}([a-z]+[0-9]+)?(\+[a-z0-9]+)?", fullmatch=True)
locked = st.builds(LockedWheel, names, versions, digits, names.map(lambda name: f"{name}.whl"))


@given(st.lists(locked, min_size=1, max_size=4))
def test_a_lock_is_read_as_it_was_written(wheels):
    lock = WheelLock("aarch64", "3.11", "2.34", wheels)
    assert parse_lock(lock.text()) == lock


@given(st.text())
def test_any_other_text_is_refused_or_read_never_a_crash(text):
    with contextlib.suppress(BundleError):
        assert parse_lock(text).wheels


GOOD = f"# edgeconv: machine=aarch64 python=3.11 glibc=2.34\na==1 --hash=sha256:{'0' * 64}  # a-1.whl\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# edgeconv: machine", "# machine"),
        ("glibc=2.34", "glibc=two"),
        ("a==1 --hash=sha256:", "a==1 --hash=md5:"),
        ("  # a-1.whl", ""),
        ("# a-1.whl", "# ../a-1.whl"),
        ("# a-1.whl", "# /a-1.whl"),
        ("# a-1.whl", "# .a-1.whl"),
        ("a==1", "--index-url evil a==1"),
        ("0000", "000"),
    ],
)
def test_a_lock_with_a_line_that_is_not_ours_is_refused(old, new):
    assert parse_lock(GOOD).wheels[0].filename == "a-1.whl"
    with pytest.raises(BundleError):
        parse_lock(GOOD.replace(old, new, 1))


def test_a_missing_lock_is_told_with_what_makes_one(tmp_path):
    with pytest.raises(BundleError) as caught:
        read_lock(tmp_path)
    assert "--with-wheels" in caught.value.hint


def test_pip_takes_the_lock_too(wheels, tmp_path):
    directory = wheels({"array/__init__.py": b"value = 1\n"})
    target = tmp_path / "by-pip"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(directory)]
    command += ["--require-hashes", "--no-compile", "--target", str(target), "-r", str(directory / LOCK_NAME)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert (target / "array/__init__.py").read_bytes() == b"value = 1\n"
    write_wheel(directory / "array-1.2-py3-none-any.whl", {"array/__init__.py": b"value = 2\n"})
    assert subprocess.run(command, check=False, capture_output=True, timeout=120).returncode != 0
