"""Which machine this is.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Dict, List, Optional

from edgeconv.benchmarks.agent.cpu_parts import core_name, midr_part, parts_of_cpuinfo
from edgeconv.benchmarks.agent.state.jetson import parse_release
from edgeconv.benchmarks.agent.state.linux import LinuxReader, meminfo_bytes
from edgeconv.benchmarks.agent.state.sources import Sources
from edgeconv.records import Host

__all__ = ["has_virtual_clock", "int8_instructions", "read_host"]

# In order of preference: what int8 kernels can use to multiply and add without saturating 16-bit sums.
_DOT_PRODUCTS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
# The board that qemu-system-aarch64 makes up.  Under KVM its cores are real; that cannot be told from within, and a
# real figure that is called emulated does less harm than the other way round.
_QEMU_BOARD = "linux,dummy-virt"
_VIRTUAL_CLOCK = "edgeconv.clock=virtual"
_MUSL = re.compile(r"ld-musl-\w+\.so\.1")
_ANDROID_FACTS = {
    "android": "ro.build.version.release",
    "android sdk": "ro.build.version.sdk",
    "android build": "ro.build.fingerprint",
    "soc": "ro.soc.model",
}


def read_host(root: Optional[Path] = None) -> Host:
    """The machine that runs this process; `root` is where /proc and /sys are looked for."""
    sources = Sources(root)
    cpuinfo = sources.text("proc/cpuinfo") or ""
    governors = LinuxReader(sources).read().governors
    properties = _android_properties(sources)
    board = _board(sources, properties)
    return Host(
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        cpu_model=_field(cpuinfo, "model name") or board,
        cpu_flags=(_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split(),
        cpus=os.cpu_count() or 1,
        governor=next(iter(governors.values()), None),
        memory_bytes=meminfo_bytes(sources, "MemTotal:"),
        python=platform.python_version(),
        emulated=_emulated(sources),
        clock="virtual" if has_virtual_clock(sources) else "wall",
        board=board,
        distribution=_distribution(sources, properties),
        libc=_libc(),
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        cpu_parts=_cpu_parts(sources, cpuinfo),
        boot_id=sources.text("proc/sys/kernel/random/boot_id"),
        facts=_facts(sources, properties),
    )


def has_virtual_clock(sources: Sources) -> bool:
    """Whether time is a count of instructions here, as the kernel was told by whoever emulates the machine."""
    return _VIRTUAL_CLOCK in (sources.text("proc/cmdline") or "").split()


def int8_instructions(flags: List[str]) -> str:
    """The CPU's int8 dot product; without one some x86 kernels saturate and int8 results differ from a board's."""
    return ", ".join(name for name in _DOT_PRODUCTS if name in flags) or "none"


def _board(sources: Sources, properties: Dict[str, str]) -> Optional[str]:
    """The device tree's name for it, Android's, or that of the firmware of a PC."""
    maker, model = properties.get("ro.product.manufacturer"), properties.get("ro.product.model")
    if model:
        return f"{maker} {model}" if maker else model
    tree = sources.text("proc/device-tree/model")
    if tree:
        return tree
    vendor, product = (sources.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(filter(None, (vendor, product))) or None


def _emulated(sources: Sources) -> bool:
    """Whether instructions are translated: a virtual machine that runs them on the real processor is not emulated."""
    compatible = (sources.text("proc/device-tree/compatible") or "").split("\0")
    if _QEMU_BOARD in (sources.text("proc/device-tree/model"), *compatible):
        return True
    clocks = sources.text("sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    return sources.text("sys/class/dmi/id/sys_vendor") == "QEMU" and "kvm-clock" not in clocks.split()


def _distribution(sources: Sources, properties: Dict[str, str]) -> Optional[str]:
    release = properties.get("ro.build.version.release")
    if release:
        return f"Android {release}"
    for line in (sources.text("etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip("\"'") or None
    return None


def _libc() -> Optional[str]:
    """Of this process, which is not the system's where Python came with its own."""
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):
        version = None
    if version:
        return version
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return "musl" if _MUSL.search(maps) else None


def _cpu_parts(sources: Sources, cpuinfo: str) -> List[str]:
    """By the identification register of each core; by /proc/cpuinfo where it is hidden."""
    paths = sources.paths("sys/devices/system/cpu/cpu[0-9]*/regs/identification/midr_el1")
    registers = [sources.number(path, 16) for path in paths]
    names = [core_name(*midr_part(register)) for register in registers if register is not None]
    return list(dict.fromkeys(names)) or parts_of_cpuinfo(cpuinfo)


def _facts(sources: Sources, properties: Dict[str, str]) -> Dict[str, str]:
    facts = {name: properties[key] for name, key in _ANDROID_FACTS.items() if key in properties}
    l4t = parse_release(sources.text("etc/nv_tegra_release") or "")
    return {**facts, "l4t": l4t} if l4t else facts


def _android_properties(sources: Sources) -> Dict[str, str]:
    """`getprop`, which prints ``[name]: [value]``; {} where it is not Android."""
    text = sources.run("getprop") or ""
    return {name: value for name, value in re.findall(r"^\[([^\]\n]+)\]: \[([^\]\n]*)\]", text, re.MULTILINE) if value}


def _field(cpuinfo: str, key: str) -> Optional[str]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip() or None
    return None
