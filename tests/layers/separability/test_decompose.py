"""The numbers of the seeds' separability table, and the algebra behind them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.errors import UsageError
from edgeconv.layers.separability import (
    denoise_rank,
    energy_curve,
    is_separable,
    low_rank,
    make_filter,
    rank_for,
    reconstruct,
    separability,
)

RANKS = {"box": 1, "gauss": 1, "dog": 2, "exponential": 13, "circle": 14, "hexagon": 13}
SIGMA = {
    "box": (34.000, 0),
    "gauss": (13.732, 0),
    "dog": (24.378, 6.515),
    "exponential": (10.135, 0.990),
    "circle": (36.744, 9.127),
    "hexagon": (38.388, 9.907),
}
SHARES = {
    "dog": {1: 0.789, 2: 1},
    "exponential": {1: 0.890, 2: 0.977, 3: 0.994},
    "circle": {1: 0.508, 2: 0.634, 3: 0.703, 4: 0.755, 8: 0.890, 12: 0.971, 14: 1},
    "hexagon": {1: 0.558, 2: 0.702, 3: 0.772, 4: 0.817, 8: 0.920, 12: 0.985, 14: 1},
}
ENERGIES = {
    "box": {1: 1},
    "gauss": {1: 1},
    "dog": {1: 0.933, 2: 1},
    "circle": {1: 0.895, 2: 0.951, 4: 0.977, 8: 0.993},
    "hexagon": {1: 0.907, 2: 0.968, 4: 0.988, 8: 0.996},
}

matrices = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-4, 4, allow_subnormal=False)
).filter(lambda m: np.abs(m).max() > 1e-3)


@pytest.mark.parametrize("name", RANKS)
def test_numerical_rank(name):
    assert separability(make_filter(name)).rank == RANKS[name]


@pytest.mark.parametrize("name", SIGMA)
def test_first_two_singular_values(name):
    sigma = np.linalg.svd(make_filter(name), compute_uv=False)
    assert sigma[:2] == pytest.approx(SIGMA[name], abs=5e-4)
    assert separability(make_filter(name)).ratio == pytest.approx(SIGMA[name][1] / SIGMA[name][0], abs=1e-4)


@pytest.mark.parametrize(("table", "mode"), [(SHARES, "sigma"), (ENERGIES, "energy")])
def test_what_the_first_terms_keep(table, mode):
    for name, kept in table.items():
        curve = energy_curve(make_filter(name), mode)
        for rank, share in kept.items():
            assert curve[rank - 1] == pytest.approx(share, abs=5e-4), (name, rank)


def test_the_exponential_is_four_terms_to_a_thousandth():
    assert energy_curve(make_filter("exponential"), "sigma")[3] == pytest.approx(0.9986, abs=5e-5)
    assert energy_curve(make_filter("exponential"))[:2] == pytest.approx([0.9902, 0.9996], abs=5e-5)
    assert separability(make_filter("exponential"), 1e-3).rank == 5


def test_three_quarters_of_sigma_take_three_terms_for_the_hexagon_and_four_for_the_circle():
    assert rank_for(make_filter("hexagon"), 0.75, "sigma") == 3
    assert rank_for(make_filter("circle"), 0.75, "sigma") == 4
    assert rank_for(make_filter("circle"), 0.75, "energy") == 1


def test_relative_error_of_the_circle():
    circle = make_filter("circle")
    for rank, expected in ((1, 0.324), (2, 0.222), (4, 0.153), (8, 0.085)):
        error = np.linalg.norm(reconstruct(*low_rank(circle, rank)) - circle) / np.linalg.norm(circle)
        assert error == pytest.approx(expected, abs=5e-4)


def test_a_box_is_one_pair_of_34_equal_taps():
    cols, rows = low_rank(make_filter("box"), 1)
    for taps in (cols[0], rows[0]):
        assert np.sum(taps > 0.5) == 34
        assert taps[taps > 0.5] == pytest.approx(1.0)
        assert np.abs(taps[taps < 0.5]).max() < 1e-12


def anisotropic(degrees):
    axis = np.linspace(-1, 1, 50)
    x, y = np.meshgrid(axis, axis)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u, v = c * x + s * y, -s * x + c * y
    return np.exp(-3 * u**2 - 40 * v**2)


def test_only_axis_aligned_separability_is_found():
    assert is_separable(anisotropic(0))
    turned = anisotropic(45)
    assert separability(turned, 1e-6).rank == 21
    for rank, expected in ((1, 0.57), (2, 0.32), (4, 0.11)):
        error = np.linalg.norm(reconstruct(*low_rank(turned, rank)) - turned) / np.linalg.norm(turned)
        assert error == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(("noise", "likely"), [(0.05, {14}), (0.10, {13, 14}), (0.15, {8, 9, 10}), (0.20, {6, 7, 8})])
def test_denoising_keeps_fewer_terms_the_more_noise_there_is(noise, likely):
    circle = make_filter("circle")
    rng = np.random.default_rng(0)
    found = [denoise_rank(circle + noise * rng.standard_normal(circle.shape), circle) for _ in range(40)]
    assert max(set(found), key=found.count) in likely


def test_a_noisy_gaussian_is_best_with_one_term():
    gauss = make_filter("gauss")
    rng = np.random.default_rng(1)
    assert {denoise_rank(gauss + 0.1 * rng.standard_normal(gauss.shape), gauss) for _ in range(40)} == {1}


def test_denoise_rank_is_the_minimum_over_all_truncations():
    rng = np.random.default_rng(2)
    circle = make_filter("circle", 20)
    noisy = circle + 0.2 * rng.standard_normal(circle.shape)
    errors = [np.linalg.norm(reconstruct(*low_rank(noisy, rank)) - circle) for rank in range(1, 21)]
    assert denoise_rank(noisy, circle) == int(np.argmin(errors)) + 1


@given(matrices)
def test_all_terms_make_the_filter_and_the_error_of_fewer_is_the_tail(kernel):
    sigma = np.linalg.svd(kernel, compute_uv=False)
    assert np.allclose(reconstruct(*low_rank(kernel, min(kernel.shape))), kernel, atol=1e-9)
    error = np.linalg.norm(reconstruct(*low_rank(kernel, 1)) - kernel) ** 2
    assert error == pytest.approx(float(np.sum(sigma[1:] ** 2)), abs=1e-9)


@given(matrices)
def test_the_larger_sum_of_each_pair_is_positive(kernel):
    cols, rows = low_rank(kernel, min(kernel.shape))
    for column, row in zip(cols, rows, strict=True):
        sums = sorted([column.sum(), row.sum()])
        assert sums[1] >= -sums[0] - 1e-9  # the larger in magnitude is the positive one


@given(matrices, st.floats(0.1, 10))
def test_scaling_changes_no_share(kernel, factor):
    assert np.allclose(energy_curve(kernel), energy_curve(kernel * factor))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: separability(np.zeros((3, 3))), "zero everywhere"),
        (lambda: separability(np.zeros(3)), "matrix"),
        (lambda: separability(np.full((2, 2), np.nan)), "not finite"),
        (lambda: low_rank(np.eye(3), 0), "ranks 1 to 3"),
        (lambda: low_rank(np.eye(3), 4), "ranks 1 to 3"),
        (lambda: energy_curve(np.eye(3), "power"), "sigma, energy"),
        (lambda: rank_for(np.eye(3), 0), "share of 0"),
        (lambda: rank_for(np.eye(3), 1.2), "share of 1.2"),
        (lambda: reconstruct(np.ones((1, 3)), np.ones((2, 3))), "no pairs"),
        (lambda: denoise_rank(np.eye(3), np.eye(4)), "3 x 3"),
        (lambda: make_filter("ring"), "There are: box"),
        (lambda: make_filter("box", 1), "at least 2"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(UsageError, match=words):
        call()
