"""The demo networks for inputs of 64x64: the same operators with the same weights, a sixteenth of the values.

Floating point is emulated hundreds of times slower than it runs: of a whole image an inference takes a guest ten
seconds, of these half a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeconv.models.checkpoint import load_weights
from edgeconv.training.tasks import get_task

SIZE = 64


def vessels() -> Any:
    return _build("vessels")


def deblur() -> Any:
    return _build("deblur")


def crops(name: str, count: int) -> np.ndarray[Any, Any]:
    """From the middle of the calibration images: (count, 1, 64, 64)."""
    images = get_task(name).calibration(count)
    start = (images.shape[-1] - SIZE) // 2
    return images[:, :, start : start + SIZE, start : start + SIZE]


def _build(name: str) -> Any:
    task = get_task(name)
    module = task.build_model(SIZE, SIZE)
    load_weights(module, task.checkpoint_path)
    return module
