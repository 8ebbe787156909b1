from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.export.quantize.rounding import round_weights
from edgeconv.export.quantize.units import IntegerConstant


def _conv(groups: int = 1, stride: int = 1, dilation: int = 1, pads: tuple[int, ...] = (1, 0, 1, 2)) -> ir.Node:
    attributes = [
        ir.AttrInt64("group", groups),
        ir.AttrInt64s("strides", [stride, stride]),
        ir.AttrInt64s("dilations", [dilation, dilation]),
        ir.AttrInt64s("pads", pads),
    ]
    return ir.Node("", "Conv", [ir.Value(name="x"), ir.Value(name="w")], attributes)


def _nearest(weights: np.ndarray) -> IntegerConstant:
    scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    integers = np.rint(weights / scale[:, None, None, None]).astype(np.int8)
    return IntegerConstant(ir.Value(name="w"), ir.Value(name="s"), integers, scale, 0)


def _errors(weights: np.ndarray, integers: np.ndarray, scale: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Power of the output's error in each channel, its mean left out, by torch's own convolution without padding."""
    import torch

    difference = weights - integers.astype(np.float32) * scale[:, None, None, None]
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(difference))
    return y.var(dim=(0, 2, 3)).numpy()


def _correlated(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Smooth images that are much alike in all channels, as a network's inputs are."""
    noise = rng.standard_normal((2, 1, 30, 31)).cumsum(axis=2).cumsum(axis=3)
    return (noise + 0.3 * rng.standard_normal((2, channels, 30, 31))).astype(np.float32)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 4]))
def test_no_channel_gets_worse(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    x, weights = _correlated(rng, channels), rng.standard_normal((6, channels, 3, 3)).astype(np.float32)
    current = _nearest(weights)
    rounded = round_weights(_conv(pads=(0, 0, 0, 0)), weights, current, [x])
    assert rounded is not None
    before = _errors(weights, current.integers, current.scale, x)
    after = _errors(weights, rounded.integers, rounded.scale, x)
    assert (after <= before * 1.001).all()
    assert np.abs(rounded.integers.astype(int)).max() <= 127


def test_the_error_on_correlated_inputs_is_less_than_a_third() -> None:
    rng = np.random.default_rng(0)
    x, weights = _correlated(rng, 4), rng.standard_normal((64, 4, 3, 3)).astype(np.float32)
    current = _nearest(weights)
    rounded = round_weights(_conv(pads=(0, 0, 0, 0)), weights, current, [x])
    assert rounded is not None
    before = _errors(weights, current.integers, current.scale, x)
    after = _errors(weights, rounded.integers, rounded.scale, x)
    assert after.sum() < before.sum() / 3


def test_weights_on_the_grid_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    integers = rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    integers[:, 0, 0, 0] = 127
    current = IntegerConstant(ir.Value(name="w"), ir.Value(name="s"), integers, np.full(4, 0.01, np.float32), 0)
    weights = integers.astype(np.float32) * np.float32(0.01)
    rounded = round_weights(_conv(), weights, current, [_correlated(rng, 3)])
    assert rounded is not None
    np.testing.assert_array_equal(rounded.integers, integers)
    np.testing.assert_array_equal(rounded.scale, current.scale)


@pytest.mark.parametrize(("groups", "stride", "dilation"), [(4, 1, 1), (2, 2, 1), (1, 1, 2), (1, 3, 1)])
def test_groups_strides_and_dilations_are_understood(groups: int, stride: int, dilation: int) -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((8, 4 // groups, 3, 3)).astype(np.float32)
    current = _nearest(weights)
    rounded = round_weights(_conv(groups, stride, dilation), weights, current, [_correlated(rng, 4)])
    assert rounded is not None
    assert rounded.integers.shape == weights.shape
    assert not np.array_equal(rounded.integers, current.integers)


def test_silent_inputs_change_nothing() -> None:
    weights = np.random.default_rng(2).standard_normal((4, 3, 3, 3)).astype(np.float32)
    current = _nearest(weights)
    rounded = round_weights(_conv(), weights, current, [np.zeros((1, 3, 12, 12), np.float32)])
    assert rounded is not None
    np.testing.assert_array_equal(rounded.integers, current.integers)


def test_layers_with_a_large_fan_in_are_left_to_nearest_rounding() -> None:
    weights = np.zeros((2, 200, 3, 3), np.float32)
    assert round_weights(_conv(), weights, _nearest(weights + 1), [np.zeros((1, 200, 8, 8), np.float32)]) is None
