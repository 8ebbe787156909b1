"""Waiting until the machine is cool enough to be measured.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import dataclasses
import time
from typing import Callable, Optional

from edgeconv.errors import DeviceError

__all__ = ["CoolDown", "cool_down"]

_PAUSE_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class CoolDown:
    """How long it took and how hot it still was."""

    limit_celsius: float
    reached_celsius: float
    waited_seconds: float

    @property
    def failure(self) -> Optional[str]:
        """Why the measurement started too hot, in words; None when it did not."""
        if self.reached_celsius < self.limit_celsius:
            return None
        return (
            f"it was not cool enough: after {self.waited_seconds:.0f} s the hottest zone still had "
            f"{self.reached_celsius:.1f} °C, asked for was less than {self.limit_celsius:.1f} °C"
        )

    def __str__(self) -> str:
        return f"waited {self.waited_seconds:.0f} s for less than {self.limit_celsius:.1f} °C, then had " + (
            f"{self.reached_celsius:.1f} °C"
        )


def cool_down(
    limit_celsius: float,
    max_seconds: float,
    hottest: Callable[[], Optional[float]],
    report: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> CoolDown:
    """Wait until `hottest` is below `limit_celsius`, at most for `max_seconds`.

    Raises:
        DeviceError: no temperature can be read here.
    """
    began = clock()
    while True:
        reached = hottest()
        if reached is None:
            raise DeviceError(
                "A cool-down was asked for, but no temperature can be read on this device.", "Leave out --cool-down."
            )
        waited = clock() - began
        if reached < limit_celsius or waited >= max_seconds:
            return CoolDown(limit_celsius, reached, waited)
        report()
        sleep(min(_PAUSE_SECONDS, max_seconds - waited))
