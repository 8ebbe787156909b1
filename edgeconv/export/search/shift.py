"""Images unlike those that a model was calibrated with: less contrast, more brightness, noise."""

from __future__ import annotations

import numpy as np

from edgeconv.export.data import Array, Sample

__all__ = ["shifted"]

_CONTRAST = 0.75
_BRIGHTNESS = 0.15  # as this and the noise a share of the range of values
_NOISE = 0.04


def shifted(sample: Sample, seed: int) -> Sample:
    """A shifted copy of the raw `sample`; every array keeps its dtype and, but for 8-bit images, its range.

    The same seed gives the same noise.
    """
    generator = np.random.default_rng(seed)
    return {name: _shifted(array, generator) for name, array in sample.items()}


def _shifted(array: Array, generator: np.random.Generator) -> Array:
    values = array.astype(np.float32)
    low, high = (0.0, 255.0) if array.dtype == np.uint8 else (float(values.min()), float(values.max()))
    noise = generator.standard_normal(values.shape, np.float32)
    moved = values.mean() + _CONTRAST * (values - values.mean()) + (_BRIGHTNESS + _NOISE * noise) * (high - low)
    clipped = np.clip(moved, low, high)
    return np.asarray(np.rint(clipped) if array.dtype == np.uint8 else clipped, array.dtype)
