from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.training.tasks.psf import PSF_RADIUS_PX, blur, psf_at, psf_covariance

R = PSF_RADIUS_PX
coordinate = st.floats(-1, 1)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 79), (40, 40), (63, 10), (63, 79), (17, 60)])
def test_blur_of_a_point_is_the_psf_of_its_place(row, column):
    height, width = 64, 80
    scene = np.zeros((height + 2 * R, width + 2 * R), np.float32)
    scene[R + row, R + column] = 1
    expected = np.zeros_like(scene)
    expected[row : row + 2 * R + 1, column : column + 2 * R + 1] = psf_at(row * 2 / 63 - 1, column * 2 / 79 - 1)
    np.testing.assert_allclose(blur(scene), expected[R:-R, R:-R], atol=1e-7)


@settings(deadline=None)
@given(coordinate, coordinate)
def test_psf_sums_to_one_is_even_and_lies_inside_its_kernel(row, column):
    kernel = psf_at(row, column)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-9)
    rim = kernel.copy()
    rim[1:-1, 1:-1] = 0
    assert rim.sum() < 0.02


@settings(deadline=None)
@given(coordinate, coordinate)
def test_psf_covariance_is_positive_definite_and_within_the_documented_widths(row, column):
    yy, xx, yx = psf_covariance(row, column)
    widths_px = np.sqrt(np.linalg.eigvalsh(np.array([[yy, yx], [yx, xx]])))
    assert 0.6 < widths_px[0] <= widths_px[1] < 2.9


def test_psf_covariance_changes_slowly_over_the_field():
    row, column = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(-1, 1, 256), indexing="ij")
    for entry in psf_covariance(row, column):
        assert np.abs(np.diff(entry, axis=0)).max() < 0.06
        assert np.abs(np.diff(entry, axis=1)).max() < 0.06


def test_psf_width_and_orientation_depend_on_the_place():
    corner, centre = psf_covariance(1, 1), psf_covariance(-0.15, -0.2)
    assert corner[0] > 5 * centre[0]
    assert psf_covariance(1, 0.8)[2] * psf_covariance(1, -0.9)[2] < 0  # streaks lean to the other side


def test_blur_of_an_even_field_is_the_same_even_field():
    np.testing.assert_allclose(blur(np.full((256 + 2 * R, 256 + 2 * R), 0.5, np.float32)), 0.5, atol=1e-3)
