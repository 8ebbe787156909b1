"""Jetson: power rails from the INA sensors or tegrastats, the power mode from nvpmodel.

Part of the device agent: Python 3.8, standard library only.  Formats: NVIDIA Jetson Linux Developer Guide, "Tegrastats
Utility" and "Power and Performance".  Never run on a Jetson.
"""

from __future__ import annotations

import re
from typing import Dict, Optional

from edgeconv.benchmarks.agent.state.reading import Reading, is_temperature
from edgeconv.benchmarks.agent.state.sources import Sources, Stream

__all__ = ["JetsonReader", "parse_power_mode", "parse_release", "parse_tegrastats"]

_RELEASE = "etc/nv_tegra_release"
_UNCONNECTED = "NC"
_DUMMY = {"PMIC": 100.0}  # a sensor of JetPack 4 that always says so
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C(?!\S)")
_POWER = re.compile(r"(?<!\S)([A-Z][A-Z0-9]*_\w+|VDDRQ|SYS5V|NC) (\d+)(?:mW)?/(\d+)(?:mW)?(?!\S)")
_FIRST_LINE_SECONDS = 2.5


class JetsonReader:
    """The INA sensors where they can be read, else one tegrastats beside us."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._tegrastats: Optional[Stream] = None
        self._line = ""
        if not self._rails():
            self._tegrastats = Stream.start(sources, "tegrastats", "--interval", "1000")
        self._mode = parse_power_mode(sources.run("nvpmodel", "-q") or "")
        self._l4t = parse_release(sources.text(_RELEASE) or "")

    @classmethod
    def detect(cls, sources: Sources) -> Optional[JetsonReader]:
        """By the release file of its Linux."""
        return cls(sources) if sources.text(_RELEASE) else None

    def read(self) -> Reading:
        """Look now."""
        if self._tegrastats:
            newer = self._tegrastats.latest(0.0 if self._line else _FIRST_LINE_SECONDS)
            self._line = newer or ("" if self._tegrastats.ended else self._line)
        reading = parse_tegrastats(self._line)
        facts = {"l4t": self._l4t} if self._l4t else {}
        return reading + Reading(power_watts=self._rails(), power_mode=self._mode, facts=facts)

    def close(self) -> None:
        """End tegrastats."""
        if self._tegrastats:
            self._tegrastats.close()

    def _rails(self) -> Dict[str, float]:
        sources, watts = self._sources, {}
        # JetPack 5 and later: millivolts and milliamperes.
        for label in sources.paths("sys/class/hwmon/hwmon*/in[1-3]_label"):
            folder, number = label.rpartition("/")[0], label.rpartition("/")[2][len("in")]
            if not (sources.text(f"{folder}/name") or "").startswith("ina3221"):
                continue
            volts, amperes = (
                sources.number(f"{folder}/in{number}_input"),
                sources.number(f"{folder}/curr{number}_input"),
            )
            name = sources.text(label)
            if name and name != _UNCONNECTED and volts is not None and amperes is not None:
                watts[name] = volts * amperes / 1e6
        # JetPack 4: milliwatts.
        for label in sources.paths("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
            milliwatts = sources.number(f"{label.rpartition('/')[0]}/in_power{label[-1]}_input")
            name = sources.text(label)
            if name and name != _UNCONNECTED and milliwatts is not None:
                watts[name] = milliwatts / 1e3
        return watts


def parse_tegrastats(line: str) -> Reading:
    """Temperatures and power rails of one line; a sensor that is off (-256C) is absent."""
    temperatures = {name: float(value) for name, value in _TEMPERATURE.findall(line)}
    return Reading(
        temperatures_celsius={
            name: value for name, value in temperatures.items() if is_temperature(value) and _DUMMY.get(name) != value
        },
        power_watts={name: int(now) / 1e3 for name, now, _average in _POWER.findall(line) if name != _UNCONNECTED},
    )


def parse_power_mode(text: str) -> Optional[str]:
    """The name of ``NV Power Mode: MAXN``, of ``nvpmodel -q``."""
    found = re.search(r"NV Power Mode:[ \t]*(\S[^\n]*)", text)
    return found.group(1).strip() if found else None


def parse_release(text: str) -> Optional[str]:
    """Like "R36.4.3", of /etc/nv_tegra_release."""
    found = re.search(r"#\s*R(\d+)\s*\(\w+\),\s*REVISION:\s*(\d+(?:\.\d+)*)", text)
    return f"R{found.group(1)}.{found.group(2)}" if found else None
