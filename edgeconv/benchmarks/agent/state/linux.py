"""What every Linux tells: clocks, thermal zones, cooling, load, memory, batteries.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

from typing import Dict, List, Optional

from edgeconv.benchmarks.agent.state.reading import Reading, is_temperature
from edgeconv.benchmarks.agent.state.sources import Sources

__all__ = ["LinuxReader", "meminfo_bytes"]

_CPU = "sys/devices/system/cpu"
# The cooling devices that slow processors down, by their type: the kernel's own, ACPI's, and those of Jetsons.
_SLOWS_DOWN = ("cpufreq", "devfreq", "throttle")
_SLOWING_TRIPS = ("passive", "hot", "critical")
_LOWEST_TRIP_CELSIUS = 40.0  # a trip below is a place holder that the vendor never set
_EVENT_COUNTS = {
    f"{_CPU}/cpu*/thermal_throttle/package_throttle_count": "the processor was slowed down for heat",
    "sys/class/hwmon/hwmon*/oc*_event_cnt": "the board was slowed down for over-current",  # Jetson
}


class LinuxReader:
    """Clocks and temperatures from sysfs; counts of throttle events are compared with the last look."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._counts: Dict[str, int] = {}

    @classmethod
    def detect(cls, sources: Sources) -> Optional[LinuxReader]:
        """It fits everywhere."""
        return cls(sources)

    def read(self) -> Reading:
        """Look now."""
        sources = self._sources
        policies = sources.paths(f"{_CPU}/cpufreq/policy*")
        names = {path: path.rpartition("/")[2] for path in policies}
        if not policies:  # kernels before 4.3
            names = {path: path.split("/")[-2] for path in sources.paths(f"{_CPU}/cpu[0-9]*/cpufreq")}
        zones, trips = self._zones()
        return Reading(
            load_average=_first_float(sources.text("proc/loadavg")),
            available_bytes=meminfo_bytes(sources, "MemAvailable:"),
            frequencies_khz=_present(
                {name: sources.number(f"{path}/scaling_cur_freq") for path, name in names.items()}
            ),
            reference_khz=_present({name: self._reference(path) for path, name in names.items()}),
            governors={
                name: f"{governor} ({driver})" if driver in _DYNAMIC_DRIVERS else governor
                for path, name in names.items()
                for governor, driver in [
                    (sources.text(f"{path}/scaling_governor"), sources.text(f"{path}/scaling_driver"))
                ]
                if governor
            },
            temperatures_celsius=zones,
            trips_celsius=trips,
            throttled=self._throttled(),
            facts=self._battery(),
        )

    def close(self) -> None:
        """Nothing is held."""

    def _reference(self, path: str) -> Optional[int]:
        """The clock to hold under load: the guaranteed one where there is a turbo, for that one comes and goes."""
        base = self._sources.number(f"{path}/base_frequency")
        if base is not None:
            return base
        turbo = self._sources.text(f"{_CPU}/intel_pstate/status") or self._sources.number(f"{_CPU}/cpufreq/boost")
        return None if turbo else self._sources.number(f"{path}/scaling_max_freq")

    def _zones(self) -> tuple[Dict[str, float], Dict[str, float]]:
        sources = self._sources
        temperatures: Dict[str, float] = {}
        trips: Dict[str, float] = {}
        for zone in sources.paths("sys/class/thermal/thermal_zone*"):
            millidegrees = sources.number(f"{zone}/temp")
            if millidegrees is None or not is_temperature(millidegrees / 1000):
                continue
            kind = sources.text(f"{zone}/type") or zone.rpartition("/")[2]
            name = kind if kind not in temperatures else f"{kind} ({zone.rpartition('/')[2]})"
            temperatures[name] = millidegrees / 1000
            slowing = [
                limit / 1000
                for path in sources.paths(f"{zone}/trip_point_*_type")
                if sources.text(path) in _SLOWING_TRIPS
                for limit in [sources.number(path[: -len("type")] + "temp")]
                if limit is not None and limit / 1000 >= _LOWEST_TRIP_CELSIUS
            ]
            if slowing:
                trips[name] = min(slowing)
        return temperatures, trips

    def _throttled(self) -> Optional[List[str]]:
        """None where the system has neither cooling devices that slow it down nor counts of such events."""
        sources = self._sources
        words: List[str] = []
        known = False
        for device in sources.paths("sys/class/thermal/cooling_device*"):
            kind = sources.text(f"{device}/type") or ""
            if kind != "Processor" and not any(part in kind for part in _SLOWS_DOWN):
                continue
            state = sources.number(f"{device}/cur_state")
            known = known or state is not None
            if state is not None and state > 0:
                words.append(f"{kind} slows it down for heat")
        for pattern, meaning in _EVENT_COUNTS.items():
            for path in sources.paths(pattern):
                count = sources.number(path)
                known = known or count is not None
                if count is not None and count > self._counts.get(path, count) and meaning not in words:
                    words.append(meaning)
                if count is not None:
                    self._counts[path] = count
        return words if known else None

    def _battery(self) -> Dict[str, str]:
        for supply in self._sources.paths("sys/class/power_supply/*"):
            if self._sources.text(f"{supply}/type") == "Battery":
                level, status = self._sources.number(f"{supply}/capacity"), self._sources.text(f"{supply}/status")
                if level is not None:
                    return {"battery": f"{level} %, {(status or 'unknown').lower()}"}
        return {}


# Their governor "powersave" is the usual one, which does raise the clock.
_DYNAMIC_DRIVERS = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")


def meminfo_bytes(sources: Sources, name: str) -> Optional[int]:
    """A field of /proc/meminfo."""
    for line in (sources.text("proc/meminfo") or "").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdecimal():
            return int(words[1]) * 1024
    return None


def _first_float(text: Optional[str]) -> Optional[float]:
    try:
        return float(text.split()[0]) if text else None
    except (ValueError, IndexError):
        return None


def _present(values: Dict[str, Optional[int]]) -> Dict[str, int]:
    return {name: value for name, value in values.items() if value is not None and value > 0}
