"""What a system lacks for running bundles, in plain sentences, each with what would mend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from edgeconv.devices.probe.findings import Findings, FoundPython

__all__ = ["Lack", "find_lacks", "usable_python"]

_OLDEST_PYTHON = (3, 8)
_LEAST_FREE_BYTES = 500_000_000  # a pack or an environment with one runtime, and a bundle
_RUNTIMES = {  # distribution: (runtime, the glibc that its newest wheels really need, up to which version they do not)
    "ai-edge-litert": ("2.34", "before 2.1.2"),
    "openvino": ("2.34", "before 2025"),
    "onnxruntime": ("2.28", "up to 1.23"),
}
_QEMU_BOARD = "linux,dummy-virt"  # has no firmware to ask
_NARROW_MACHINES = ("armv6l", "armv7l", "armv8l", "arm", "i686", "i386")


@dataclasses.dataclass(frozen=True)
class Lack:
    """`what` is missing, `mend` is the command or the step that helps; `fatal`: nothing runs there without it."""

    what: str
    mend: str
    fatal: bool = False


def find_lacks(findings: Findings, device: str) -> list[Lack]:
    """In the order in which they are best mended; [] where all is well.

    Args:
        findings: of the system.
        device: the profile that bundles for it are exported for.
    """
    narrow = list(_narrow(findings))
    if narrow:  # all the rest is of no use then
        return narrow
    return [lack for rule in _RULES for lack in rule(findings, device)]


def usable_python(findings: Findings) -> FoundPython | None:
    """The first Python that can run the agent."""
    return next((python for python in findings.pythons if _number(python) >= _OLDEST_PYTHON), None)


def _narrow(findings: Findings) -> Iterator[Lack]:
    system = "Raspberry Pi OS (64-bit)" if _is_pi(findings) else "the 64-bit system"
    mend = f"Install {system}: no runtime here has 32-bit wheels."
    if findings.properties.get("ro.product.cpu.abilist64") == "":
        yield Lack(
            "This Android has no 64-bit programs.", "Use another phone: no runtime here has 32-bit builds.", fatal=True
        )
    elif findings.machine in _NARROW_MACHINES:
        yield Lack(f"The system is 32-bit ({findings.machine}).", mend, fatal=True)
    elif findings.program_bits == 32:
        yield Lack(f"The kernel is 64-bit ({findings.machine}) but its programs are 32-bit.", mend, fatal=True)


def _cut_off(findings: Findings, _device: str) -> Iterator[Lack]:
    if not findings.whole:
        yield Lack("The look was cut off, so what follows may be incomplete.", "Probe it again.")


def _libc(findings: Findings, device: str) -> Iterator[Lack]:
    if findings.libc == "musl":
        yield Lack(
            "The C library is musl; the runtimes' wheels are built for glibc.",
            f"Bring another Python along: edgeconv export MODEL --device {device} --with-wheels",
        )
    if findings.libc == "glibc" and findings.libc_version:
        own = _version(findings.libc_version)
        for name, (needed, older) in _RUNTIMES.items():
            if own < _version(needed):
                yield Lack(
                    f"glibc is {findings.libc_version}; the newest {name} needs {needed}, whatever its wheel's tag is.",
                    f"Take one {older}, or let edgeconv export --with-wheels choose: it reads what each wheel needs.",
                )


def _python(findings: Findings, device: str) -> Iterator[Lack]:
    bring = f"edgeconv export MODEL --device {device} --with-wheels brings one along"
    if usable_python(findings):
        return
    if findings.libc == "bionic":
        yield Lack("Android has no Python.", f"{bring}.")
    elif findings.pythons:
        newest = max(findings.pythons, key=_number)
        install = f"sudo apt-get install {_newer_python(findings)}, or " if _has_apt(findings) else ""
        yield Lack(f"Python is {newest.version}, and the agent needs 3.8 or later.", f"{install}{bring}.")
    else:
        install = "sudo apt-get install python3, or " if _has_apt(findings) else ""
        yield Lack("There is no Python 3.", f"{install}{bring}.")


def _runtimes(findings: Findings, device: str) -> Iterator[Lack]:
    python = usable_python(findings)
    if python is None:
        return
    if not set(python.packages) - {"numpy"}:
        yield Lack(
            f"{python.path} has no runtime.",
            f"edgeconv export MODEL --device {device} --with-wheels (the bundle then brings its own), or "
            f"{python.path} -m pip install onnxruntime",
        )
    numpy = python.packages.get("numpy", "")
    if "tflite-runtime" in python.packages and numpy and not numpy.startswith("1."):
        yield Lack(f"tflite-runtime does not work with numpy {numpy}.", f"{python.path} -m pip install 'numpy<2'")


def _jetson(findings: Findings, _device: str) -> Iterator[Lack]:
    if findings.l4t and "trtexec" not in findings.tools:
        yield Lack("TensorRT's trtexec is not installed.", "sudo apt-get install libnvinfer-bin")


def _raspberry(findings: Findings, _device: str) -> Iterator[Lack]:
    if "vcgencmd" in findings.tools and "throttled=" not in findings.vcgencmd:
        user = findings.user or "$USER"
        words = findings.vcgencmd.partition("\n")[0] or "nothing"
        yield Lack(
            f"vcgencmd does not answer ({words}): throttling stays unknown.",
            f"sudo usermod -aG video {user}, then log in again",
        )
    elif _is_pi(findings) and "vcgencmd" not in findings.tools and _QEMU_BOARD not in findings.compatible:
        yield Lack("vcgencmd is not installed: throttling stays unknown.", "sudo apt-get install raspi-utils")


def _room(findings: Findings, _device: str) -> Iterator[Lack]:
    free = findings.disk_free_bytes
    if free is not None and free < _LEAST_FREE_BYTES:
        yield Lack(
            f"Only {free / 1e6:.0f} MB are free where bundles go.",
            "Make room, or remove what earlier runs left: edgeconv bench BUNDLE --on TARGET --clean",
        )


_RULES: tuple[Callable[[Findings, str], Iterator[Lack]], ...] = (
    _cut_off,
    _libc,
    _python,
    _runtimes,
    _jetson,
    _raspberry,
    _room,
)


def _is_pi(findings: Findings) -> bool:
    return (findings.board or "").startswith("Raspberry Pi")


def _has_apt(findings: Findings) -> bool:
    return findings.os_id in ("debian", "raspbian", "ubuntu")


def _newer_python(findings: Findings) -> str:
    """Ubuntu 18.04 has 3.8 beside its 3.6."""
    return "python3.8" if findings.os_id == "ubuntu" and findings.libc_version == "2.27" else "python3"


def _number(python: FoundPython) -> tuple[int, ...]:
    return _version(python.version)[:2]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
