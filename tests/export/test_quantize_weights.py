from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.errors import ExportError
from edgeconv.export.quantize.weights import BIAS_LIMIT, bias_scale, quantise_bias, quantise_weights

_SCALES = {"input_scale": 0.02, "output_scale": 0.05, "where": "node 'c' (Conv)"}


@given(hnp.arrays(np.float32, (4, 3, 2, 2), elements=st.floats(-8, 8, width=32)), st.integers(0, 3))
def test_weights_are_at_most_half_a_step_off_in_every_channel(weights: np.ndarray, axis: int) -> None:
    quantised = quantise_weights(weights, axis, None, **_SCALES)
    shape = [1] * 4
    shape[axis] = -1
    scale = quantised.scale.reshape(shape)
    assert quantised.values.min() >= -127
    assert quantised.scale.shape == (weights.shape[axis],)
    assert np.all(np.abs(quantised.values * scale - weights) <= 0.501 * scale)


def test_the_largest_weight_of_a_channel_is_127() -> None:
    weights = np.array([[1.0, -2.0], [0.001, 0.0005]], np.float32)
    assert np.abs(quantise_weights(weights, 0, None, **_SCALES).values).max(axis=1).tolist() == [127, 127]


@given(
    hnp.arrays(np.float64, 6, elements=st.floats(-1e4, 1e4)),
    hnp.arrays(np.float64, 6, elements=st.sampled_from([0.0, 1e-30, 1e-9, 1e-3, 1.0])),
)
def test_biases_never_leave_thirty_bits(bias: np.ndarray, magnitude: np.ndarray) -> None:
    weights = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * magnitude[:, None].astype(np.float32)
    quantised = quantise_weights(weights, 0, bias.astype(np.float32), **_SCALES)
    scale = bias_scale(_SCALES["input_scale"], quantised.scale, 6)
    integers = quantise_bias(bias.astype(np.float32), scale).astype(np.int64)
    assert np.abs(integers).max() < BIAS_LIMIT
    assert np.all(np.abs(integers * scale.astype(np.float64) - bias) <= np.maximum(scale, np.abs(bias) * 1e-6))


def test_a_channel_whose_bias_dwarfs_its_weights_is_raised_and_named() -> None:
    weights = np.array([[1.0], [1e-9], [0.0]], np.float32)
    quantised = quantise_weights(weights, 0, np.array([1.0, 100.0, 100.0], np.float32), **_SCALES)
    assert quantised.raised == (1,)  # the third has no weights that a coarser scale could round


def test_a_dead_channel_gets_a_scale_that_kernels_can_multiply_with() -> None:
    quantised = quantise_weights(np.zeros((2, 3), np.float32), 0, None, **_SCALES)
    assert np.all(_SCALES["input_scale"] * quantised.scale / _SCALES["output_scale"] > 2.0**-31)


def test_biases_of_a_grouped_transposed_convolution_repeat_the_scales() -> None:
    scale = bias_scale(0.5, np.array([1, 2, 4], np.float32), 6)
    assert scale.tolist() == [0.5, 1, 2, 0.5, 1, 2]
    weights = np.full((4, 3, 1, 1), 0.01, np.float32)
    quantised = quantise_weights(weights, 1, np.array([0, 0, 0, 0, 5000, 0], np.float32), **_SCALES)
    assert quantised.raised == (1,)


@pytest.mark.parametrize("what", ["weights", "bias"])
def test_parameters_that_are_not_finite_are_refused(what: str) -> None:
    weights, bias = np.ones((2, 2), np.float32), np.ones(2, np.float32)
    (weights if what == "weights" else bias).flat[1] = np.nan
    with pytest.raises(ExportError, match=f"{what} of node 'c'"):
        quantise_weights(weights, 0, bias, **_SCALES)


def test_a_channel_of_zeros_whose_result_stays_in_float_has_a_scale() -> None:
    weights = np.array([[1.0, -2.0], [0.0, 0.0]], np.float32)
    for array in (weights, np.zeros_like(weights)):
        quantised = quantise_weights(array, 0, np.zeros(2, np.float32), **{**_SCALES, "output_scale": 0.0})
        assert (quantised.scale > 0).all()
        np.testing.assert_array_equal(quantised.values[1], 0)
