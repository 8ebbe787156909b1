"""What `look.sh` saw, typed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from edgeconv.benchmarks.agent.cpu_parts import core_name, midr_part, parts_of_cpuinfo
from edgeconv.benchmarks.agent.state.jetson import parse_release

__all__ = ["Findings", "FoundPython", "parse_findings", "split_sections"]

_FENCE = re.compile(r"^@@edgeconv (\w+)\r?$", re.MULTILINE)
_LAST = "end"
_ISA = {  # of /proc/cpuinfo: arch/arm64/include/uapi/asm/hwcap.h and the x86 flags that int8 kernels look for
    "neon": ("asimd", "neon"),
    "fp16": ("asimdhp",),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
    "bf16": ("bf16",),
    "sve": ("sve",),
    "sve2": ("sve2",),
    "avx2": ("avx2",),
    "avx512_vnni": ("avx512_vnni",),
    "avx_vnni": ("avx_vnni",),
    "amx_int8": ("amx_int8",),
}
_MACHINES = {"28": "arm", "b7": "aarch64", "3e": "x86_64", "03": "x86", "f3": "riscv"}  # ELF e_machine


@dataclasses.dataclass(frozen=True)
class FoundPython:
    """One Python; `packages` has the version of each runtime, and of numpy, that is installed in it."""

    path: str
    version: str
    packages: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Findings:
    """A system as it is; None, "" and empty where it does not tell.

    `program_bits` and `program_machine` are of its programs, which can be 32-bit under a 64-bit kernel.  `libc` is
    "glibc", "musl", "bionic" or "".
    """

    system: str
    kernel: str
    machine: str
    board: str | None
    compatible: list[str]
    os: str | None
    os_id: str | None
    cpu_model: str | None
    cpu_parts: list[str]
    cpus: int | None
    isa: list[str]
    program_bits: int | None
    program_machine: str | None
    libc: str
    libc_version: str
    page_bytes: int | None
    memory_bytes: int | None
    disk_free_bytes: int | None
    user: str | None
    groups: list[str]
    pythons: list[FoundPython]
    sensors: list[str]
    tools: dict[str, str]
    vcgencmd: str
    l4t: str | None
    packages: dict[str, str]
    cuda: str | None
    properties: dict[str, str]
    whole: bool  # False: the look was cut off


def split_sections(text: str) -> dict[str, str]:
    """The sections by name, without the empty lines around them."""
    pieces = _FENCE.split(text)
    return {name: body.strip("\r\n") for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def parse_findings(text: str) -> Findings:
    """Of the output of ``look.sh``; takes any text."""
    sections = split_sections(text)

    def lines(name: str) -> list[str]:
        return [line.strip() for line in sections.get(name, "").splitlines() if line.strip()]

    kernel = [*lines("kernel"), "", "", ""]
    release = dict(line.partition("=")[::2] for line in lines("os"))
    cpuinfo = sections.get("cpuinfo", "")
    properties = dict(re.findall(r"\[([^\]\n]+)\]: \[([^\]\n]*)\]", sections.get("getprop", "")))
    program = " ".join(lines("program")).split()
    libc, libc_version = _libc(lines("loaders"), sections.get("libc", ""))
    user = lines("user")
    android = properties.get("ro.product.model")
    return Findings(
        system=kernel[0],
        kernel=kernel[1],
        machine=kernel[2] or (_MACHINES.get(program[18], "") if len(program) > 18 else ""),
        board=android or next(iter(lines("model")), None),
        compatible=lines("compatible") + [properties[key] for key in ("ro.product.device",) if key in properties],
        os=_os_name(release, properties),
        os_id=release.get("ID", "").strip("\"'") or None,
        cpu_model=_cpu_model(cpuinfo),
        cpu_parts=_cpu_parts(lines("midr"), cpuinfo),
        cpus=len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or None,
        isa=_isa(cpuinfo),
        program_bits={"01": 32, "02": 64}.get(program[4]) if len(program) > 4 else None,
        program_machine=_MACHINES.get(program[18]) if len(program) > 18 else None,
        libc=libc,
        libc_version=libc_version,
        page_bytes=_page(sections.get("page", "")),
        memory_bytes=_kilobytes(r"^MemTotal:\s*(\d+) kB", sections.get("meminfo", "")),
        disk_free_bytes=_disk(lines("disk")),
        user=user[0] if user else None,
        groups=user[1].split() if len(user) > 1 else [],
        pythons=_pythons(lines("pythons")),
        sensors=lines("sensors"),
        tools=_pairs(lines("tools")),
        vcgencmd=sections.get("vcgencmd", "").strip(),
        l4t=parse_release(sections.get("nv_tegra_release", "")),
        packages=_pairs(lines("packages")),
        cuda=_cuda(sections.get("cuda", "")),
        properties=properties,
        whole=_LAST in sections,
    )


def _pairs(lines: list[str]) -> dict[str, str]:
    return {name: value for name, space, value in (line.partition(" ") for line in lines) if space}


def _os_name(release: Mapping[str, str], properties: Mapping[str, str]) -> str | None:
    if "ro.build.version.release" in properties:
        return f"Android {properties['ro.build.version.release']}"
    return release.get("PRETTY_NAME", "").strip("\"'") or None


def _cpu_model(cpuinfo: str) -> str | None:
    found = re.search(r"^model name\s*:\s*(\S.*)$", cpuinfo, re.MULTILINE)
    return found.group(1).strip() if found else None


def _cpu_parts(registers: list[str], cpuinfo: str) -> list[str]:
    names = [
        core_name(*midr_part(int(line, 16))) for line in registers if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", line)
    ]
    return list(dict.fromkeys(names)) or parts_of_cpuinfo(cpuinfo)


def _isa(cpuinfo: str) -> list[str]:
    """What every core has: a program moves between them."""
    cores = [set(flags.split()) for flags in re.findall(r"^(?:Features|flags)\s*:(.*)$", cpuinfo, re.MULTILINE)]
    common = set.intersection(*cores) if cores else set()
    return [name for name, flags in _ISA.items() if any(flag in common for flag in flags)]


def _libc(loaders: list[str], banner: str) -> tuple[str, str]:
    found = re.search(r"stable release version (2\.\d+)", banner)
    if found:
        return "glibc", found.group(1)
    if any("linker" in path for path in loaders):
        return "bionic", ""
    if any("ld-musl" in path for path in loaders):
        return "musl", ""
    return ("glibc", "") if any("ld-linux" in path for path in loaders) else ("", "")


def _page(text: str) -> int | None:
    found = re.search(r"(\d+)( kB)?", text)
    return int(found.group(1)) * (1024 if found.group(2) else 1) if found else None


def _kilobytes(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _disk(lines: list[str]) -> int | None:
    """The fourth column of df: what is available, in units of 1024 bytes."""
    words = lines[-1].split() if len(lines) > 1 else []
    numbers = [word for word in words if word.isdecimal()]
    return int(numbers[2]) * 1024 if len(numbers) >= 3 else None


def _pythons(lines: list[str]) -> list[FoundPython]:
    found: list[FoundPython] = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "python":
            found.append(FoundPython(rest, "", {}))
        elif kind == "version" and found:
            found[-1] = dataclasses.replace(found[-1], version=rest)
        elif kind == "has" and found:
            name, _, version = rest.partition(" ")
            found[-1] = dataclasses.replace(found[-1], packages={**found[-1].packages, name: version})
    by_version: dict[str, FoundPython] = {}
    for python in found:
        if re.fullmatch(r"3\.\d+\.\d+", python.version):
            by_version.setdefault(python.version, python)  # python3 and python3.11 are one mostly
    return list(by_version.values())


def _cuda(text: str) -> str | None:
    found = re.search(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"|CUDA Version ([\d.]+)', text)
    return (found.group(1) or found.group(2)) if found else None
