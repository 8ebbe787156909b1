"""Resident memory of this process.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

__all__ = ["METHOD", "peak_rss_bytes", "rss_bytes"]

METHOD = "peak: VmHWM after the timed inferences; baseline: VmRSS with the runtime imported and no model loaded"
# Not ru_maxrss, which on Linux starts from the peak of the process that forked this one; not VmPeak, which counts
# address space.
_STATUS = Path("/proc/self/status")


def rss_bytes(status: Path = _STATUS) -> Optional[int]:
    """Resident set now; None where the system does not tell."""
    return _field(status, "VmRSS:")


def peak_rss_bytes(status: Path = _STATUS) -> Optional[int]:
    """Largest resident set since the process began; None where the system does not tell."""
    return _field(status, "VmHWM:")


def _field(status: Path, name: str) -> Optional[int]:
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None
