from __future__ import annotations

import tarfile

import pytest

from edgeconv.devices.pack import build_pack, cached_pack
from edgeconv.errors import DeviceError
from tests.tools import need


def test_there_are_packs_for_arm64_only():
    with pytest.raises(DeviceError, match="no pack for x86_64"):
        cached_pack("x86_64", [])


@pytest.mark.device
def test_the_same_parts_give_the_same_bytes_of_a_python_alone(tmp_path):
    need("mmdebstrap")
    first, second = (build_pack(tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 12e6
    with tarfile.open(first) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert {"run", "bin/python3", "lib/ld-linux-aarch64.so.1", "lib/libc.so.6", "lib/python3.11/os.py"} <= set(names)
    assert all(member.isfile() or member.isdir() for member in members)
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    started = {member.name for member in members if member.isfile() and member.mode & 0o100}
    assert started == {"run", "bin/python3", "lib/ld-linux-aarch64.so.1"}
