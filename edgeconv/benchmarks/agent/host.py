"""Which machine this is.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import List, Optional

from edgeconv.benchmarks.agent.state import meminfo_bytes, read_state, read_text
from edgeconv.records import Host

__all__ = ["int8_instructions", "read_host"]

# In order of preference: what int8 kernels can use to multiply and add without saturating 16-bit sums.
_DOT_PRODUCTS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
_QEMU_BOARD = "linux,dummy-virt"


def read_host(root: Path = Path("/")) -> Host:
    """The machine that runs this process; `root` is where /proc and /sys are looked for."""
    board = read_text(root / "proc/device-tree/model")
    policies = read_state(root).policies
    return Host(
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        cpu_model=_cpuinfo(root, "model name") or board,
        cpu_flags=(_cpuinfo(root, "flags") or _cpuinfo(root, "Features") or "").split(),
        cpus=os.cpu_count() or 1,
        governor=policies[0].governor if policies else None,
        memory_bytes=meminfo_bytes(root, "MemTotal:"),
        python=platform.python_version(),
        emulated=_QEMU_BOARD in (board, read_text(root / "proc/device-tree/compatible")),
        clock="wall",
    )


def int8_instructions(flags: List[str]) -> str:
    """The CPU's int8 dot product; without one some x86 kernels saturate and int8 results differ from a board's."""
    return ", ".join(name for name in _DOT_PRODUCTS if name in flags) or "none"


def _cpuinfo(root: Path, key: str) -> Optional[str]:
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip() or None
    return None
