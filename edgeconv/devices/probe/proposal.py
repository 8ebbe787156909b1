"""Which profile a system is best exported for."""

from __future__ import annotations

import dataclasses
import re

from edgeconv.devices.probe.findings import Findings
from edgeconv.devices.profile import DeviceProfile, load_profile, onnx_activations, profile_names

__all__ = ["Proposal", "fitted_profile", "propose"]

_HOST = "host"
_SAME_MACHINE = {"arm64": "aarch64", "amd64": "x86_64"}


@dataclasses.dataclass(frozen=True)
class Proposal:
    """`exact`: the board is one that the profile names.  `differences`: where this one is not as the profile says."""

    profile: str
    exact: bool
    differences: list[str]


def propose(findings: Findings) -> Proposal:
    """The built-in profile of the board by its names; else the one whose kernels fit."""
    profiles = [load_profile(name) for name in profile_names()]
    named = [
        (min(profile.compatible.index(name) for name in findings.compatible if name in profile.compatible), profile)
        for profile in profiles
        if set(profile.compatible) & set(findings.compatible)
    ]
    if named:
        profile = min(named, key=lambda pair: pair[0])[1]
        return Proposal(profile.name, exact=True, differences=_differences(profile, findings))
    profile = load_profile(_nearest(findings))
    differences = _differences(profile, findings)
    return Proposal(profile.name, exact=profile.name == _HOST and not differences, differences=differences)


def fitted_profile(findings: Findings, name: str) -> DeviceProfile:
    """The proposed profile with the facts of this very system, for a file of the user's own."""
    profile = load_profile(propose(findings).profile)
    own_libc = findings.libc == "glibc"
    machine = _plain(findings.machine) or profile.machine
    return dataclasses.replace(
        profile,
        name=name,
        description=findings.board or (f"A system of {machine}" if profile.name == _HOST else profile.description),
        machine=machine,
        onnx_activations=onnx_activations(machine) if profile.name == _HOST else profile.onnx_activations,
        os=findings.os or profile.os,
        python=_two_numbers(findings.pythons[0].version) if own_libc and findings.pythons else "",
        glibc=_two_numbers(findings.libc_version) if own_libc else "",
        isa=findings.isa or profile.isa,
        memory_bytes=findings.memory_bytes or profile.memory_bytes,
        compatible=findings.compatible,
        notes=[],
    )


def _nearest(findings: Findings) -> str:
    """Of boards without a profile: by Linux flavour, then by the instructions that int8 kernels are chosen by."""
    if findings.libc == "bionic" or findings.properties:
        return "android-arm64"
    if findings.l4t:
        return "jetson-orin-nano"
    if _plain(findings.machine) != "aarch64":
        return _HOST
    return "raspberry-pi-5" if "dotprod" in findings.isa else "raspberry-pi-4"


def _differences(profile: DeviceProfile, findings: Findings) -> list[str]:
    python = _two_numbers(findings.pythons[0].version) if findings.pythons else ""
    found = {
        "machine": (_plain(findings.machine), profile.machine),
        "python": (python, profile.python),
        "glibc": (findings.libc_version, profile.glibc),
        "libc": (findings.libc, "glibc" if profile.glibc else "bionic"),
    }
    if findings.compatible and not set(findings.compatible) & set(profile.compatible):
        found["board"] = (findings.board or "", profile.description)
    differences = [
        f"{name}: {have or 'none'} instead of {want or 'none'}" for name, (have, want) in found.items() if have != want
    ]
    missing = [name for name in profile.isa if findings.isa and name not in findings.isa]
    return [*differences, *([f"it lacks {', '.join(missing)}"] if missing else [])]


def _two_numbers(version: str) -> str:
    """3.11 of 3.11.2 or 3.11rc1."""
    found = re.match(r"\d+\.\d+", version)
    return found[0] if found else ""


def _plain(machine: str) -> str:
    return _SAME_MACHINE.get(machine, machine)
