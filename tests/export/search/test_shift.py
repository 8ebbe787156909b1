from __future__ import annotations

import numpy as np
import pytest

from edgeconv.export.search.shift import shifted


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_contrast_falls_and_brightness_grows(dtype: type) -> None:
    image = np.random.default_rng(0).normal(120, 30, (1, 1, 64, 64)).clip(0, 255).astype(dtype)
    moved = shifted({"x": image}, 0)["x"]
    assert moved.dtype == dtype
    assert moved.shape == image.shape
    assert moved.min() >= (0 if dtype is np.uint8 else image.min())
    assert moved.max() <= (255 if dtype is np.uint8 else image.max())
    assert moved.mean() > image.mean() + 10
    assert np.corrcoef(image.ravel(), moved.ravel())[0, 1] > 0.8


def test_same_seed_gives_the_same_image() -> None:
    image = {"x": np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)}
    assert np.array_equal(shifted(image, 3)["x"], shifted(image, 3)["x"])
    assert not np.array_equal(shifted(image, 3)["x"], shifted(image, 4)["x"])
