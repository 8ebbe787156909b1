"""What one reader says.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, List, Optional

__all__ = ["Reading", "is_temperature"]

_COLDEST_CELSIUS, _HOTTEST_CELSIUS = -40.0, 150.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """One look through one reader; a quantity that it does not know is absent or None.

    `reference_khz` is the clock that a policy should hold under load; `trips_celsius` is the lowest temperature at
    which the kernel slows a zone down; `throttled` says in words what holds now or has happened since the last look.
    """

    load_average: Optional[float] = None
    available_bytes: Optional[int] = None
    frequencies_khz: Dict[str, int] = dataclasses.field(default_factory=dict)
    reference_khz: Dict[str, int] = dataclasses.field(default_factory=dict)
    governors: Dict[str, str] = dataclasses.field(default_factory=dict)
    temperatures_celsius: Dict[str, float] = dataclasses.field(default_factory=dict)
    trips_celsius: Dict[str, float] = dataclasses.field(default_factory=dict)
    throttled: Optional[List[str]] = None
    power_watts: Dict[str, float] = dataclasses.field(default_factory=dict)
    power_mode: Optional[str] = None
    facts: Dict[str, str] = dataclasses.field(default_factory=dict)

    def __add__(self, other: Reading) -> Reading:
        """Both; where they tell the same quantity, `other` counts, but what throttles in one throttles in the sum."""
        joined = {field.name: _join(getattr(self, field.name), getattr(other, field.name)) for field in _FIELDS}
        return Reading(**joined)


_FIELDS = dataclasses.fields(Reading)


def is_temperature(celsius: float) -> bool:
    """Sensors that are off or not fitted say 0, -256 or a million: no temperature of a running device."""
    return celsius != 0 and _COLDEST_CELSIUS < celsius < _HOTTEST_CELSIUS


def _join(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return first if second is None else second
    if isinstance(first, dict):
        return {**first, **second}
    if isinstance(first, list):
        return first + [item for item in second if item not in first]
    return second
