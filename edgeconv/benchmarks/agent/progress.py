"""One line of JSON about once a second, for whoever watches a run.  Part of the device agent: Python 3.8.

It is written between two inferences and never inside one, by the process that times them: a thread would take part of
its time at moments that nobody knows.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, Sequence

__all__ = ["Progress", "hottest_celsius"]

_RECENT = 256  # inferences that the shown median is of
_ZONES = "sys/class/thermal/thermal_zone*/temp"


class Progress:
    """Writes `{"phase": …, "samples": …, "p50_ns": …, "temperature_celsius": …}`; without a stream it does nothing."""

    def __init__(self, stream: Optional[IO[str]] = None, root: Path = Path("/")) -> None:
        self._stream = stream
        self._zones = sorted(root.glob(_ZONES)) if stream is not None else []

    @classmethod
    def on_stdout(cls) -> Progress:
        """To standard output, whose lines the host reads."""
        return cls(sys.stdout)

    def __call__(self, phase: str, samples: Sequence[int] = ()) -> None:
        """Tell the phase, how many inferences it has, the median of the latest ones and how hot it is."""
        if self._stream is None:
            return
        line: Dict[str, Any] = {"phase": phase}
        if samples:
            line["samples"] = len(samples)
            line["p50_ns"] = round(statistics.median(samples[-_RECENT:]))
        temperature = hottest_celsius(self._zones)
        if temperature is not None:
            line["temperature_celsius"] = temperature
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except OSError:  # whoever watched is gone; the measurement is not
            self._stream = None


def hottest_celsius(zones: Sequence[Path]) -> Optional[float]:
    """The highest temperature of some thermal zones of sysfs; None where none can be read."""
    found: List[float] = []
    for zone in zones:
        try:
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):  # locked by the vendor, or a sensor that is asleep
            continue
    return max(found) if found else None
