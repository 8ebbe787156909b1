"""The command line of QEMU for a board."""

from __future__ import annotations

import os
from pathlib import Path

from edgeconv.devices.emulate.boards import Board

__all__ = ["qemu_command", "usable_cores"]

_ADDRESS = "10.0.2.15"  # the guest's, in QEMU's user network


def qemu_command(
    board: Board, *, disk: Path, kernel: Path, initrd: Path, serial: Path, host_port: int, guest_port: int, cores: int
) -> list[str]:
    """Boot `disk` with `guest_port` of the guest at 127.0.0.1:`host_port`; what the guest writes is thrown away.

    The guest reaches nothing outside (restrict=on) and `serial` gets its console.
    """
    if board.deterministic:
        # One thread, and the clock counts instructions. `sleep=off` would let the guest's time run ahead when idle.
        cpu = ["-smp", "1", "-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=0,sleep=on"]
    else:
        cpu = ["-smp", str(cores), "-accel", "tcg,thread=multi,tb-size=512"]
    return [
        *("qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", board.cpu, *cpu),
        *("-m", str(board.memory_mib), "-kernel", str(kernel), "-initrd", str(initrd), "-append", _kernel_line(board)),
        *("-drive", f"file={_escape(disk)},format=raw,if=none,id=disk,snapshot=on"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{host_port}-{_ADDRESS}:{guest_port}"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-display", "none", "-monitor", "none", "-serial", f"file:{serial}"),
    ]


def usable_cores(board: Board) -> int:
    """As many as the board has, and no more than this machine can run at once."""
    return 1 if board.deterministic else max(1, min(board.cores, os.cpu_count() or 1))


def _kernel_line(board: Board) -> str:
    words = ["console=ttyAMA0", "quiet", "panic=0", f"edgeconv.board={board.hardware}", f"edgeconv.clock={board.clock}"]
    if board.deterministic:
        words += ["nokaslr", "norandmaps"]  # addresses move alignment, and with it the count of instructions
    return " ".join(words)


def _escape(path: Path) -> str:
    return str(path).replace(",", ",,")  # QEMU's way to say a comma in an option's value
