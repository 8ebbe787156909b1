"""The signal-to-quantisation-noise ratio."""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt

__all__ = ["Power", "sqnr_db"]


def sqnr_db(signal: float, noise: float) -> float | None:
    """In dB, from the energies of the reference and of the difference from it; None where there is no difference."""
    return 10 * math.log10(max(signal, sys.float_info.min) / noise) if noise else None


class Power:
    """Signal and noise power, added up over tensors and cases."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, reference: npt.NDArray[np.generic], found: npt.NDArray[np.generic]) -> None:
        """One more pair of arrays of the same shape."""
        wanted = np.asarray(reference, np.float64).ravel()
        error = np.asarray(found, np.float64).ravel() - wanted
        self.signal += float(wanted @ wanted)
        self.noise += float(error @ error)

    @property
    def db(self) -> float | None:
        """SQNR in dB; None where there is no difference, or nothing was compared."""
        return sqnr_db(self.signal, self.noise)
