"""Memory of this process, phase by phase.  Part of the device agent: Python 3.8, standard library only.

The phases are read in the very process whose inferences are timed, and not in a pass of their own: what is reported is
the memory of what was timed, and nothing is read between the first timed inference and the last.  The harness adds
8 bytes a sample, and that after the last reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Optional

from edgeconv.records import Memory

__all__ = ["MemoryPhases", "mapped_bytes"]

_PROC = Path("/proc/self")
_RESET_PEAK = "5"  # what /proc/PID/clear_refs takes to set VmHWM back to VmRSS
# Not ru_maxrss, which on Linux starts from the peak of the process that forked this one; not VmPeak, which counts
# address space.
_METHOD = (
    "peak: VmHWM of a fresh process after load and first inferences, inputs included; baseline: VmRSS with "
    "interpreter, numpy and runtime imported and no model loaded; PSS: smaps_rollup, at the same two points"
)
_PHASES = {
    True: "VmHWM set back before the load and before the first inference, so that each phase has its own peak",
    False: "VmHWM cannot be set back here, so a later phase's peak includes the earlier ones'",
}


class MemoryPhases:
    """Call `imported`, `loaded`, `prepared` and `ran` as the phases end; then `finish`."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._baseline: Optional[int] = None
        self._baseline_pss: Optional[int] = None
        self._load_peak: Optional[int] = None
        self._run_peak: Optional[int] = None
        self._pss: Optional[int] = None
        self._mapped: Optional[int] = None
        self._reset = False

    def imported(self) -> None:
        """The runtime is imported, no model is loaded."""
        self._baseline = _kibibytes(self._proc / "status", "VmRSS:")
        self._baseline_pss = _kibibytes(self._proc / "smaps_rollup", "Pss:")
        self._reset = self._reset_peak()

    def loaded(self) -> None:
        """The model is loaded."""
        self._load_peak = _kibibytes(self._proc / "status", "VmHWM:")

    def prepared(self) -> None:
        """The inputs are made; what making them took on the way is not the model's."""
        self._reset = self._reset_peak() and self._reset

    def ran(self, files: Iterable[Path]) -> None:
        """Some inferences are done; `files` are the model's."""
        self._run_peak = _kibibytes(self._proc / "status", "VmHWM:")
        self._pss = _kibibytes(self._proc / "smaps_rollup", "Pss:")
        self._mapped = mapped_bytes(files, self._proc / "smaps")

    def finish(self) -> Memory:
        """What was read; None is what the system does not tell."""
        peaks = [peak for peak in (self._load_peak, self._run_peak) if peak is not None]
        return Memory(
            peak_rss_bytes=max(peaks) if peaks else None,
            baseline_rss_bytes=self._baseline,
            method=f"{_METHOD}; {_PHASES[self._reset]}" if peaks else "the system does not tell",
            load_peak_rss_bytes=self._load_peak,
            pss_bytes=self._pss,
            baseline_pss_bytes=self._baseline_pss,
            mapped_model_bytes=self._mapped,
        )

    def _reset_peak(self) -> bool:
        try:
            (self._proc / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        except OSError:  # not built into this kernel, or not allowed in this container
            return False
        return True


def mapped_bytes(files: Iterable[Path], smaps: Path = _PROC / "smaps") -> Optional[int]:
    """Resident pages of `files` that are mapped into this process; None where the system does not tell."""
    names = {str(path.resolve()) for path in files}
    try:
        lines = smaps.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    total, ours = 0, False
    for line in lines:
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):  # "7f12a0000000-7f12a0021000 r--p 00000000 fe:00 1234    /path"
            fields = rest.split(None, 4)
            ours = len(fields) == 5 and fields[4] in names
        elif ours and first == "Rss:":
            total += int(rest.split()[0]) * 1024
    return total


def _kibibytes(path: Path, name: str) -> Optional[int]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None
