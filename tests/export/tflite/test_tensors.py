from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.tflite.tensors import Program, Quantiser

SCALES = st.floats(2**-20, 1024, width=32)
ZERO_POINTS = st.integers(-128, 127)


@given(SCALES, ZERO_POINTS)
def test_quantising_undoes_dequantising(scale, zero_point):
    quantiser = Quantiser((scale,), (zero_point,))
    integers = np.arange(-128, 128, dtype=np.int8)
    np.testing.assert_array_equal(quantiser.quantise(quantiser.dequantise(integers)), integers)


@given(SCALES, ZERO_POINTS)
def test_quantising_saturates_at_the_range(scale, zero_point):
    quantiser = Quantiser((scale,), (zero_point,))
    low, high = quantiser.range()
    np.testing.assert_array_equal(quantiser.quantise([low - scale, -np.inf]), [-128, -128])
    np.testing.assert_array_equal(quantiser.quantise([high + scale, np.inf]), [127, 127])


def test_quantising_rounds_half_to_even():
    np.testing.assert_array_equal(Quantiser((1.0,), (0,)).quantise([0.5, 1.5, -0.5, -2.5]), [0, 2, 0, -2])


def test_per_channel_quantiser_scales_each_slice_of_its_axis():
    quantiser = Quantiser((1.0, 10.0), (0, 0), axis=1)
    np.testing.assert_array_equal(quantiser.dequantise(np.ones((2, 2), np.int8)), [[1, 10], [1, 10]])


def test_quantiser_covers_what_lies_in_its_range():
    wide, narrow = Quantiser((2.0,), (0,)), Quantiser((1.0,), (0,))
    assert wide.covers(narrow)
    assert wide.covers(wide)
    assert not narrow.covers(wide)


def test_equal_constants_are_one_tensor_unless_they_mean_different_numbers():
    program = Program()
    first = program.add_constant("a", np.array([1, 2], np.int8), Quantiser((1.0,), (0,)))
    assert program.add_constant("b", np.array([1, 2], np.int8), Quantiser((1.0,), (0,))) == first
    assert program.add_constant("c", np.array([1, 2], np.int8), Quantiser((2.0,), (0,))) != first
