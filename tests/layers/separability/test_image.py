from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from edgeconv.errors import UsageError
from edgeconv.layers.separability import apply, break_even_rank, cost, low_rank, make_filter, reconstruct

RNG = np.random.default_rng(0)
IMAGE = RNG.random((19, 23))
MODES = {"zero": "constant", "edge": "nearest", "reflect": "mirror"}


def kernel(rows=5, columns=7):
    return RNG.standard_normal((rows, columns))


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("flip", [False, True])
def test_all_terms_filter_like_the_whole_kernel(padding, flip):
    whole = kernel()
    filtered = apply(IMAGE, *low_rank(whole, 5), padding=padding, flip=flip)
    reference = ndimage.convolve if flip else ndimage.correlate
    assert np.allclose(filtered, reference(IMAGE, whole, mode=MODES[padding]))


def test_channels_are_filtered_alone():
    colours = RNG.random((11, 13, 3))
    terms = low_rank(kernel(), 2)
    filtered = apply(colours, *terms)
    assert np.allclose(filtered, np.stack([apply(colours[..., c], *terms) for c in range(3)], axis=-1))


def test_renormalised_taps_keep_a_flat_image_flat():
    cols, rows = low_rank(make_filter("circle", 21), 2)
    assert not np.isclose(reconstruct(cols, rows).sum(), make_filter("circle", 21).sum())
    assert np.allclose(apply(np.ones((9, 9)), cols, rows, renormalise=True), 1)


def test_cost_of_terms_against_the_whole_filter():
    found = cost(50, 50, 10, 4, 3)
    assert found.macs == 10 * 100 * 12
    assert found.dense_macs / found.macs == 2.5
    assert found.intermediate_bytes == 10 * 12 * 4
    assert pytest.approx(1.79, abs=0.005) == 50 * 50 / (14 * 100)
    assert break_even_rank(50, 50) == 25
    assert break_even_rank(3, 3) == 1.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: apply(np.ones(3), *low_rank(kernel(), 1)), "an image|An image"),
        (lambda: apply(IMAGE, *low_rank(kernel(4, 5), 1)), "no centre"),
        (lambda: apply(IMAGE, np.ones((1, 3)), np.ones((2, 3))), "no pairs"),
        (lambda: apply(IMAGE, *low_rank(kernel(), 1), padding="wrap"), "zero, edge, reflect"),
        (lambda: apply(IMAGE, np.array([[1.0, 0, -1]]), np.ones((1, 3)), renormalise=True), "sum to zero"),
        (lambda: cost(0, 1, 1, 1, 1), "at least 1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(UsageError, match=words):
        call()
