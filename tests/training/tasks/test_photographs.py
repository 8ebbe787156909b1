from __future__ import annotations

import numpy as np
import pytest

from edgeconv.errors import DataError
from edgeconv.training.tasks.base import sample_rng
from edgeconv.training.tasks.photographs import TEST_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS, crop, photograph


def test_split_shares_no_photograph_and_keeps_the_stereo_pair_together():
    assert not set(TRAIN_PHOTOGRAPHS) & set(TEST_PHOTOGRAPHS)
    for side in (TRAIN_PHOTOGRAPHS, TEST_PHOTOGRAPHS):
        assert ("motorcycle_left.png" in side) == ("motorcycle_right.png" in side)


@pytest.mark.parametrize("name", TRAIN_PHOTOGRAPHS + TEST_PHOTOGRAPHS)
def test_photograph_is_in_the_installed_wheel(name):
    pixels = photograph(name)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 2


def test_photograph_names_the_file_when_it_is_missing():
    with pytest.raises(DataError, match=r"nowhere\.png"):
        photograph("nowhere.png")


@pytest.mark.parametrize("name", ["page.png", "camera.png"])
def test_crop_has_the_size_asked_for_when_the_photograph_is_smaller_or_larger(name):
    patch = crop(sample_rng(1), (name,), 272)
    assert patch.shape == (272, 272)
    assert patch.dtype == np.float32
    assert 0 <= patch.min() < patch.max() <= 1
