"""One look at the device through all readers that fit.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import dataclasses
import time
from typing import Callable, List, Optional, Protocol, Tuple

from edgeconv.benchmarks.agent.state.android import AndroidReader
from edgeconv.benchmarks.agent.state.jetson import JetsonReader
from edgeconv.benchmarks.agent.state.linux import LinuxReader
from edgeconv.benchmarks.agent.state.raspberry import RaspberryReader
from edgeconv.benchmarks.agent.state.reading import Reading
from edgeconv.benchmarks.agent.state.sources import Sources
from edgeconv.records import StateSample

__all__ = ["READERS", "Look", "Reader", "StateReader", "hottest_celsius"]

# Sensors that tell nothing of how warm the processor is.
_ELSEWHERE = ("battery", "usb", "charge", "pmic", "modem", "tboard", "tdiode")


class Reader(Protocol):
    """What knows one kind of system."""

    def read(self) -> Reading:
        """Look now; never raises for what the system says."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


# Later ones know better: what they say replaces what an earlier one said of the same quantity.
READERS: Tuple[Callable[[Sources], Optional[Reader]], ...] = (
    LinuxReader.detect,
    RaspberryReader.detect,
    JetsonReader.detect,
    AndroidReader.detect,
)


@dataclasses.dataclass(frozen=True)
class Look:
    """The device at one moment; `at_ns` is of the monotonic clock that all processes share."""

    at_ns: int
    reading: Reading

    def sample(self, first_ns: int) -> StateSample:
        """As it goes into a record."""
        reading = self.reading
        return StateSample(
            at_seconds=round((self.at_ns - first_ns) / 1e9, 3),
            load_average=reading.load_average,
            available_bytes=reading.available_bytes,
            frequencies_khz=reading.frequencies_khz,
            temperatures_celsius=reading.temperatures_celsius,
            throttled=reading.throttled,
            power_watts=reading.power_watts,
        )


class StateReader:
    """All readers that fit this system."""

    def __init__(self, sources: Optional[Sources] = None) -> None:
        sources = sources or Sources()
        found = [detect(sources) for detect in READERS]
        self._readers: List[Reader] = [reader for reader in found if reader is not None]

    def look(self) -> Look:
        """Look now."""
        at_ns = time.monotonic_ns()
        reading = Reading()
        for reader in self._readers:
            reading = reading + reader.read()
        return Look(at_ns, reading)

    def close(self) -> None:
        """End what the readers have started."""
        for reader in self._readers:
            reader.close()


def hottest_celsius(sample: StateSample) -> Optional[float]:
    """The warmest sensor near the processor; None where no temperature is told."""
    near = [
        celsius
        for name, celsius in sample.temperatures_celsius.items()
        if not any(word in name.lower() for word in _ELSEWHERE)
    ]
    return max(near or sample.temperatures_celsius.values(), default=None)
