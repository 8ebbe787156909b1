"""What can be read of the machine's state, before and after a measurement.  None and "unknown" mean just that.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Dict, List, Optional

__all__ = ["CpuPolicy", "MachineState", "read_state", "read_text", "throttling"]

UNKNOWN = "unknown"
# Firmware of the Raspberry Pi: bits 0-3 hold now (under-voltage, capped, throttled, soft temperature limit), bits 16-19
# have held since boot.
_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_NOW = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_STICKY_SHIFT = 16


@dataclasses.dataclass(frozen=True)
class CpuPolicy:
    """Frequency scaling of a group of cores, in kHz as the kernel gives it."""

    name: str
    governor: Optional[str]
    current_khz: Optional[int]
    min_khz: Optional[int]
    max_khz: Optional[int]


@dataclasses.dataclass(frozen=True)
class MachineState:
    """One look at the machine."""

    load_average: Optional[float]
    available_bytes: Optional[int]
    uptime_seconds: Optional[float]
    policies: List[CpuPolicy]
    temperatures_celsius: Dict[str, float]
    throttled: str  # hexadecimal flags of a Raspberry Pi, else "unknown"


def read_state(root: Path = Path("/")) -> MachineState:
    """The state now; `root` is where /proc and /sys are looked for."""
    flags = _number(root / _PI_THROTTLED, 16)
    return MachineState(
        load_average=_first_float(root / "proc/loadavg"),
        available_bytes=meminfo_bytes(root, "MemAvailable:"),
        uptime_seconds=_first_float(root / "proc/uptime"),
        policies=[_policy(path) for path in sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))],
        temperatures_celsius=_temperatures(root),
        throttled=UNKNOWN if flags is None else hex(flags),
    )


def throttling(before: MachineState, after: MachineState) -> Optional[str]:
    """Why the measurement between two states is that of a throttled machine, in words; None when nothing says so.

    A flag that is held now counts; one that has held "since boot" counts only if it was not set before the run.
    """
    if UNKNOWN in (before.throttled, after.throttled):
        return None
    first, last = int(before.throttled, 16), int(after.throttled, 16)
    seen = first | last | ((last & ~first) >> _STICKY_SHIFT)
    held = [words for bit, words in _NOW.items() if seen >> bit & 1]
    return f"the board was throttled: {', '.join(held)}" if held else None


def meminfo_bytes(root: Path, name: str) -> Optional[int]:
    """A field of /proc/meminfo."""
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None


def read_text(path: Path) -> Optional[str]:
    """A small file of /proc or /sys without its trailing newline or NUL; None when absent, locked or empty."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip("\0\n ") or None
    except OSError:
        return None


def _policy(path: Path) -> CpuPolicy:
    return CpuPolicy(
        path.name,
        read_text(path / "scaling_governor"),
        _number(path / "scaling_cur_freq"),
        _number(path / "scaling_min_freq"),
        _number(path / "scaling_max_freq"),
    )


def _temperatures(root: Path) -> Dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        millidegrees = _number(zone / "temp")
        if millidegrees is not None:
            found[f"{zone.name} {read_text(zone / 'type') or ''}".strip()] = millidegrees / 1000
    return found


def _first_float(path: Path) -> Optional[float]:
    text = read_text(path)
    return float(text.split()[0]) if text else None


def _number(path: Path, base: int = 10) -> Optional[int]:
    text = read_text(path)
    try:
        return int(text, base) if text else None
    except ValueError:
        return None
