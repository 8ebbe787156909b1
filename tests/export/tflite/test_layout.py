from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.tflite.layout import Layout, default_order, regroup


def _value(layout, stored):
    """The ONNX value that the numbers 0, 1, … mean when they lie in memory as `layout` says."""
    memory = np.arange(math.prod(stored)).reshape(stored)
    dims = layout.dims(range(len(layout.axes)))
    unassigned = [dim for dim in range(len(stored)) if dim not in dims]
    shape = [math.prod(stored[dim] for dim in axis) for axis in layout.axes]
    return memory.transpose([*dims, *unassigned]).reshape(shape)


@st.composite
def laid_out(draw):
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4))
    order = draw(st.permutations(range(len(sizes))))
    return Layout.of_order(order), tuple(sizes[axis] for axis in order)


@st.composite
def factorised(draw, total):
    shape = []
    while total > 1:
        factor = draw(st.sampled_from([n for n in range(2, total + 1) if total % n == 0]))
        shape.append(factor)
        total //= factor
    for _ in range(draw(st.integers(0, 2))):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return tuple(shape)


@given(laid_out(), st.data())
def test_regrouping_is_reshape(given_layout, data):
    layout, stored = given_layout
    value = _value(layout, stored)
    shape = data.draw(factorised(value.size))
    regrouped = regroup(layout, stored, shape)
    if regrouped is not None:
        assert math.prod(regrouped[1]) == value.size
        np.testing.assert_array_equal(_value(*regrouped), value.reshape(shape))


@given(laid_out(), st.data())
def test_splitting_and_merging_an_axis_is_always_a_regrouping(given_layout, data):
    layout, stored = given_layout
    value = _value(layout, stored)
    axis = data.draw(st.integers(0, value.ndim - 1))
    split = data.draw(factorised(value.shape[axis]))
    shape = (*value.shape[:axis], *split, *value.shape[axis + 1 :])
    regrouped = regroup(layout, stored, shape)
    assert regrouped is not None
    merged = regroup(*regrouped, value.shape)
    assert merged is not None
    np.testing.assert_array_equal(_value(*merged), value)


@given(laid_out(), st.data())
def test_transposing_a_layout_is_transpose(given_layout, data):
    layout, stored = given_layout
    permutation = data.draw(st.permutations(range(len(layout.axes))))
    np.testing.assert_array_equal(
        _value(layout.transposed(permutation), stored), _value(layout, stored).transpose(permutation)
    )


def test_regrouping_is_impossible_when_an_axis_would_need_parts_of_two():
    assert regroup(Layout.of_order((0, 1)), (6, 4), (8, 3)) is None
    assert regroup(Layout.of_order((0, 1)), (6, 4), (5, 5)) is None


def test_order_is_none_when_an_axis_is_made_of_several_dimensions():
    assert Layout(((0,), (2, 1))).order(3) is None
    assert Layout(((0,), (2,), (1,))).order(3) == (0, 2, 1)


@pytest.mark.parametrize(("rank", "order"), [(2, (0, 1)), (4, (0, 2, 3, 1)), (5, (0, 1, 2, 3, 4))])
def test_default_order_is_nhwc_for_rank_four_only(rank, order):
    assert default_order(rank) == order
