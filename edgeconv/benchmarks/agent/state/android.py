"""Android: the thermal service, the battery and battery saver.

Part of the device agent: Python 3.8, standard library only.  Formats: AOSP, ThermalManagerService.dump and
BatteryService.dumpInternal.  Never run on a phone.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Dict, List, Optional

from edgeconv.benchmarks.agent.state.reading import Reading, is_temperature
from edgeconv.benchmarks.agent.state.sources import Sources

__all__ = ["AndroidReader", "Battery", "ThermalService", "parse_battery", "parse_thermal_service"]

_BATTERY_SAVER = "battery saver"
_CURRENT = "Current temperatures from HAL:"
_TEMPERATURE = re.compile(r"Temperature\{mValue=([-+.\dEe]+), mType=(-?\d+), mName=([^,}\n]+), mStatus=(\d+)\}")
_COOLING = re.compile(r"CoolingDevice\{mValue=(\d+), mType=(\d+), mName=([^,}\n]+)\}")
# android.os.Temperature: CPU, GPU, battery, skin, USB port, power amplifier, NPU.  The others are volts, amperes and
# percentages under the same name, or differences.
_TYPES = (0, 1, 2, 3, 4, 5, 9)
_PROCESSOR_COOLING = (2, 3)  # android.os.CoolingDevice: CPU, GPU
_SEVERITIES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_STATUSES = {1: "unknown", 2: "charging", 3: "discharging", 4: "not charging", 5: "full"}
_BATTERY_FIELD = re.compile(r"^\s*([A-Za-z ]+): (\S+)\s*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class ThermalService:
    """`status` is 0 (none) to 6 (shutdown); None where it is not told."""

    status: Optional[int]
    temperatures_celsius: Dict[str, float]
    slowed_down_by: List[str]


@dataclasses.dataclass(frozen=True)
class Battery:
    """None where it is not told."""

    level_percent: Optional[int]
    status: Optional[str]
    temperature_celsius: Optional[float]
    plugged: bool


class AndroidReader:
    """`dumpsys`; where its thermal service has nothing, the battery's temperature is better than none."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._saver = (sources.run("settings", "get", "global", "low_power") or "").strip()

    @classmethod
    def detect(cls, sources: Sources) -> Optional[AndroidReader]:
        """By the tool that only Android has."""
        return cls(sources) if sources.find("dumpsys") else None

    def read(self) -> Reading:
        """Look now."""
        thermal = parse_thermal_service(self._sources.run("dumpsys", "thermalservice") or "")
        battery = parse_battery(self._sources.run("dumpsys", "battery") or "")
        temperatures = dict(thermal.temperatures_celsius)
        if not temperatures and battery.temperature_celsius is not None:
            temperatures["battery"] = battery.temperature_celsius
        words = list(thermal.slowed_down_by)
        if thermal.status:
            words.append(f"thermal status {_SEVERITIES[thermal.status]}")
        facts = {}
        if battery.level_percent is not None:
            facts["battery"] = f"{battery.level_percent} %, {battery.status or 'unknown'}"
        return Reading(
            temperatures_celsius=temperatures,
            throttled=None if thermal.status is None else words,
            power_mode={"0": "normal", "1": _BATTERY_SAVER}.get(self._saver),
            facts=facts,
        )

    def close(self) -> None:
        """Nothing is held."""


def parse_thermal_service(text: str) -> ThermalService:
    """Of ``dumpsys thermalservice``: the second list of temperatures, for the first one is a stale cache."""
    found = re.search(r"^\s*Thermal Status: (\d+)\s*$", text, re.MULTILINE)
    status = int(found.group(1)) if found else None
    current = text.partition(_CURRENT)[2]
    temperatures = {}
    for value, kind, name, _status in _TEMPERATURE.findall(current):
        celsius = _float(value)
        if int(kind) in _TYPES and celsius is not None and is_temperature(celsius):
            temperatures[name] = celsius
    slowed = [
        f"{name} slows it down for heat"
        for value, kind, name in _COOLING.findall(current)
        if int(value) > 0 and int(kind) in _PROCESSOR_COOLING
    ]
    return ThermalService(status if status is not None and status < len(_SEVERITIES) else None, temperatures, slowed)


def parse_battery(text: str) -> Battery:
    """Of ``dumpsys battery``; its temperature is in tenths of a degree."""
    fields = {name.strip(): value for name, value in reversed(_BATTERY_FIELD.findall(text))}
    level, status, tenths = (_integer(fields.get(name)) for name in ("level", "status", "temperature"))
    celsius = None if tenths is None else tenths / 10
    return Battery(
        level_percent=level,
        status=None if status is None else _STATUSES.get(status),
        temperature_celsius=celsius if celsius is not None and is_temperature(celsius) else None,
        plugged=any(value == "true" for name, value in fields.items() if name.endswith(" powered")),
    )


def _float(text: str) -> Optional[float]:
    try:
        return float(text)
    except ValueError:
        return None


def _integer(text: Optional[str]) -> Optional[int]:
    try:
        return int(text) if text else None
    except ValueError:
        return None
