"""The 8-bit grid of one tensor: ``value = (q - zero_point) * scale`` with q in [-128, 127]."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError
from edgeconv.export.executor import Array

__all__ = ["Grid"]

_LOWEST, _HIGHEST = -128, 127


@dataclasses.dataclass(frozen=True)
class Grid:
    """A scalar int8 quantiser. `scale` is rounded to float32, as the graph stores it.

    Raises:
        UsageError: a scale that is not positive and finite, or a zero point outside of int8.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", float(np.float32(self.scale)))
        if not (math.isfinite(self.scale) and self.scale > 0 and _LOWEST <= self.zero_point <= _HIGHEST):
            raise UsageError(
                f"Scale {self.scale} with zero point {self.zero_point} is no int8 grid.",
                "Expected a positive finite scale and a zero point in [-128, 127].",
            )

    @classmethod
    def covering(cls, low: float, high: float, *, symmetric: bool = False) -> Grid:
        """The finest grid over [low, high] and zero; `symmetric` puts the zero point at 0.

        A tensor that is always zero gets scale 1: whatever it holds on the device rounds to zero as it did here.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max(-low, high) / _HIGHEST if symmetric else (high - low) / (_HIGHEST - _LOWEST)))
        if scale < np.finfo(np.float32).tiny:
            return cls(1.0, 0 if symmetric else _LOWEST)
        zero_point = 0 if symmetric else round(_LOWEST - low / scale)
        return cls(scale, min(max(zero_point, _LOWEST), _HIGHEST))

    @property
    def low(self) -> float:
        """The least value on the grid."""
        return (_LOWEST - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The greatest value on the grid."""
        return (_HIGHEST - self.zero_point) * self.scale

    def covers(self, low: float, high: float) -> bool:
        """Whether values in [low, high] lose at most one step of the grid by clipping."""
        return self.low - self.scale <= low and high <= self.high + self.scale

    def quantise(self, values: Array) -> npt.NDArray[np.int8]:
        """QuantizeLinear: round half to even, then saturate."""
        steps = np.rint(values / np.float32(self.scale)) + self.zero_point
        return np.asarray(np.clip(steps, _LOWEST, _HIGHEST), np.int8)

    def dequantise(self, steps: Array) -> npt.NDArray[np.float32]:
        """DequantizeLinear."""
        return np.asarray((steps.astype(np.float32) - self.zero_point) * np.float32(self.scale), np.float32)
