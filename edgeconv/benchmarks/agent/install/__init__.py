"""The bundle's wheels on a device: an environment of ours, made offline.  Part of the device agent: Python 3.8."""

from __future__ import annotations

from edgeconv.benchmarks.agent.install.environment import MARKER_NAME, install_wheels
from edgeconv.benchmarks.agent.install.lock import LOCK_NAME, LockedWheel, WheelLock, parse_lock, read_lock

__all__ = ["LOCK_NAME", "MARKER_NAME", "LockedWheel", "WheelLock", "install_wheels", "parse_lock", "read_lock"]
