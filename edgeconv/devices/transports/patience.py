"""Trying again while a connection is down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from edgeconv.errors import ConnectionLostError

__all__ = ["PATIENCE_SECONDS", "patiently"]

PATIENCE_SECONDS = 60.0  # about what a board takes to start anew
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0

_T = TypeVar("_T")


def patiently(
    attempt: Callable[[], _T],
    seconds: float = PATIENCE_SECONDS,
    last_heard: Callable[[], float] = lambda: -math.inf,
) -> _T:
    """What `attempt` returns; it is made again, after growing pauses, while it raises `ConnectionLostError`.

    Args:
        attempt: what may be done twice.
        seconds: how long to go on without success.
        last_heard: when an attempt last had an answer, on the monotonic clock: from then on it is counted anew.

    Raises:
        ConnectionLostError: it still does after so long.
    """
    lost_at: float | None = None
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return attempt()
        except ConnectionLostError as error:
            now = time.monotonic()
            if lost_at is None or last_heard() > lost_at:
                lost_at, pause = now, _FIRST_PAUSE_SECONDS
            if now + pause > lost_at + seconds:
                hint = f"It was tried again for {seconds:.0f} s. Is it switched on, and on the same network?"
                raise ConnectionLostError(error.message, error.hint or hint) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
