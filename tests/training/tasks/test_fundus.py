from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from edgeconv.training.tasks.base import sample_rng
from edgeconv.training.tasks.fundus import fundus_image
from edgeconv.training.tasks.vessel_tree import Eye, Segment, draw_tree, grow_tree

EYE = Eye(size_px=256, centre=(128, 128), radius_px=124, disc=(60, 128), disc_radius_px=14, macula=(148, 134))


def test_fundus_image_is_the_same_for_the_same_seed_and_another_for_another():
    first, again, other = (fundus_image(sample_rng(7, k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).mean() > 0.3


@pytest.mark.parametrize("size_px", [128, 256])
def test_fundus_image_has_black_surround_dark_vessels_and_a_binary_mask(size_px):
    for k in range(3):
        image, mask = fundus_image(sample_rng(8, k), size_px)
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == mask.shape == (size_px, size_px)
        assert set(np.unique(mask)) == {0, 1}
        assert image[:6, :6].max() < 25
        assert not mask[:6, :6].any()
        assert 0.02 < mask.mean() < 0.25
        beside = binary_dilation(mask, iterations=3) & ~binary_dilation(mask) & (image > 25)
        assert np.median(image[mask == 1]) < np.median(image[beside])


def test_grow_tree_starts_at_the_disc_tapers_and_spares_the_macula():
    segments = grow_tree(sample_rng(9), EYE)
    ends = np.array([s.end for s in segments])
    assert np.hypot(*(np.array(segments[0].start) - EYE.disc)) < 1.5 * EYE.disc_radius_px
    assert np.hypot(*(ends - EYE.macula).T).min() >= 0.1 * EYE.radius_px
    assert np.hypot(*(ends - EYE.centre).T).max() <= EYE.radius_px + 4
    widths = np.array([s.width_px for s in segments])
    assert widths.max() <= 6
    assert widths.min() > 1.1
    assert np.median(widths) < 0.6 * widths.max()


def test_draw_tree_covers_the_area_of_a_straight_vessel():
    vessel = Segment((20.0, 64.0), (108.0, 64.0), width_px=4.0, contrast=0.3, artery=False)
    absorbed, covered = draw_tree([vessel], 128)
    assert covered.sum() == pytest.approx(4 * 88, rel=0.06)
    assert absorbed.max() == pytest.approx(0.3, abs=0.005)
    assert absorbed[covered == 0].max() == 0
