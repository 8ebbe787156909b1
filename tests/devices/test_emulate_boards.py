"""Which boards there are, and the command lines they are booted with."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.devices.emulate.boards import BOARDS, board_names, find_board
from edgeconv.devices.emulate.qemu import qemu_command, usable_cores
from edgeconv.devices.emulate.systems import SYSTEMS
from edgeconv.devices.profile import profile_names
from edgeconv.errors import DeviceError


def command(name: str, **changed: Path) -> list[str]:
    paths = {"disk": Path("/c/disk.img"), "kernel": Path("/c/vmlinuz"), "initrd": Path("/c/initrd.gz")} | changed
    return qemu_command(find_board(name), **paths, serial=Path("/r/s.log"), host_port=5922, guest_port=22, cores=2)


COMMON = [
    *("-kernel", "/c/vmlinuz", "-initrd", "/c/initrd.gz", "-append"),
    *("-drive", "file=/c/disk.img,format=raw,if=none,id=disk,snapshot=on", "-device", "virtio-blk-pci,drive=disk"),
    *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:5922-10.0.2.15:22"),
    *("-device", "virtio-net-pci,netdev=net,romfile="),
    *("-display", "none", "-monitor", "none", "-serial", "file:/r/s.log"),
]


def test_a_board_is_booted_with_its_core_its_memory_and_a_network_that_ends_here():
    found = command("pi4")
    words = "console=ttyAMA0 quiet panic=0 edgeconv.board=pi4 edgeconv.clock=wall"
    assert found == [
        *("qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "cortex-a72"),
        *("-smp", "2", "-accel", "tcg,thread=multi,tb-size=512", "-m", "2048"),
        *COMMON[:5],
        words,
        *COMMON[5:],
    ]


def test_a_deterministic_board_counts_instructions_on_one_core():
    found = command("pi5-deterministic")
    words = "console=ttyAMA0 quiet panic=0 edgeconv.board=pi5 edgeconv.clock=virtual nokaslr norandmaps"
    assert found == [
        *("qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "cortex-a76"),
        *("-smp", "1", "-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=0,sleep=on", "-m", "2048"),
        *COMMON[:5],
        words,
        *COMMON[5:],
    ]


def test_a_comma_in_a_path_is_no_new_option():
    assert "file=/a,,b/disk.img,format=raw,if=none,id=disk,snapshot=on" in command("pi4", disk=Path("/a,b/disk.img"))


@pytest.mark.parametrize("name", board_names())
def test_every_board_stands_in_for_a_profile_and_runs_a_system_that_exists(name):
    board = find_board(name)
    assert board.profile in profile_names()
    assert board.system in SYSTEMS
    assert board.cpu != "max"  # found to give wrong results
    assert 1 <= usable_cores(board) <= (1 if board.deterministic else board.cores)


def test_each_board_has_a_deterministic_twin():
    plain = [board for board in BOARDS.values() if not board.deterministic]
    assert [board.name for board in plain] == ["pi4", "pi5", "orin", "android"]
    for board in plain:
        twin = find_board(f"{board.name}-deterministic")
        assert (twin.clock, board.clock) == ("virtual", "wall")
        assert (twin.hardware, twin.cpu, twin.profile) == (board.name, board.cpu, board.profile)


def test_a_name_that_is_none_is_answered_by_a_near_one():
    with pytest.raises(DeviceError, match="pi55") as caught:
        find_board("pi55")
    assert "Did you mean pi5" in caught.value.hint
    with pytest.raises(DeviceError) as caught:
        find_board("")
    assert "pi4, pi4-deterministic" in caught.value.hint
