"""Raspberry Pi: throttle flags and true clock of the firmware, and the power rails of a Pi 5.

Part of the device agent: Python 3.8, standard library only.  Formats: raspberrypi.com documentation, "vcgencmd".
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional

from edgeconv.benchmarks.agent.state.reading import Reading, is_temperature
from edgeconv.benchmarks.agent.state.sources import Sources

__all__ = [
    "RaspberryReader",
    "parse_clock",
    "parse_rails",
    "parse_temperature",
    "parse_throttled",
    "throttle_words",
]

_NODES = "sys/devices/platform/soc*/soc*:firmware/get_throttled"  # deprecated: newer kernels warn when it is read
_VOLTAGE_SENSOR = "rpi_volt"
_POLICY = "policy0"  # its one and only
# Bits 0-3 hold now, bits 16-19 have held since boot.
_NOW = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_STICKY_SHIFT = 16
_RAIL = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)
_LABEL = "Raspberry Pi"


class RaspberryReader:
    """Flags are compared with those of the last look: a flag that has held "since boot" counts once it is new."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._last: Optional[int] = None
        self._thermal_zones = bool(sources.paths("sys/class/thermal/thermal_zone*"))

    @classmethod
    def detect(cls, sources: Sources) -> Optional[RaspberryReader]:
        """By the device tree."""
        model = sources.text("proc/device-tree/model") or ""
        return cls(sources) if model.startswith(_LABEL) or sources.paths(_NODES) else None

    def read(self) -> Reading:
        """Look now."""
        flags = self._flags()
        words = None if flags is None else throttle_words(flags, self._last)
        self._last = self._last if flags is None else flags
        celsius = (
            None if self._thermal_zones else parse_temperature(self._sources.run("vcgencmd", "measure_temp") or "")
        )
        # cpufreq tells the clock that was asked for, also while the firmware throttles: raspberrypi/linux#2986.
        clock_khz = parse_clock(self._sources.run("vcgencmd", "measure_clock", "arm") or "")
        return Reading(
            frequencies_khz={} if clock_khz is None else {_POLICY: clock_khz},
            temperatures_celsius={} if celsius is None else {"vcgencmd": celsius},
            throttled=words,
            power_watts=parse_rails(self._sources.run("vcgencmd", "pmic_read_adc") or ""),
            facts={} if flags is None else {"throttled": hex(flags)},
        )

    def close(self) -> None:
        """Nothing is held."""

    def _flags(self) -> Optional[int]:
        flags = parse_throttled(self._sources.run("vcgencmd", "get_throttled") or "")
        for node in self._sources.paths(_NODES):
            flags = self._sources.number(node, 16) if flags is None else flags
        for name in self._sources.paths("sys/class/hwmon/hwmon*/name"):
            if flags is None and self._sources.text(name) == _VOLTAGE_SENSOR:
                flags = self._sources.number(name[: -len("name")] + "in0_lcrit_alarm")  # bit 0: under-voltage
        return flags


def parse_throttled(text: str) -> Optional[int]:
    """The flags of ``throttled=0x50000``."""
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", text)
    return int(found.group(1), 16) if found else None


def throttle_words(flags: int, last: Optional[int]) -> List[str]:
    """What holds now, or has come and gone since the flags were `last`."""
    new = 0 if last is None else (flags & ~last) >> _STICKY_SHIFT
    return [words for bit, words in _NOW.items() if (flags | new) >> bit & 1]


def parse_temperature(text: str) -> Optional[float]:
    """The degrees of ``temp=39.2'C``."""
    found = re.search(r"temp=(-?\d+(?:\.\d+)?)'C", text)
    return float(found.group(1)) if found and is_temperature(float(found.group(1))) else None


def parse_clock(text: str) -> Optional[int]:
    """The kHz of ``frequency(45)=1400000000``, of ``vcgencmd measure_clock arm``."""
    found = re.search(r"frequency\(\d+\)=([1-9]\d*)", text)
    return int(found.group(1)) // 1000 if found else None


def parse_rails(text: str) -> Dict[str, float]:
    """Watts by rail, of ``vcgencmd pmic_read_adc``: the rails that have both a current and a voltage."""
    values = {(rail, unit): float(value) for rail, unit, value in _RAIL.findall(text)}
    return {
        rail: amperes * values[rail, "V"]
        for (rail, unit), amperes in values.items()
        if unit == "A" and (rail, "V") in values
    }
