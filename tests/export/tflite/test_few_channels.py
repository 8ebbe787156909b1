from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.export.tflite import few_channels

NEVER, ALWAYS = 0.0, float("inf")


def integers_of(kit, specs, worthwhile, **options):
    """The operators and the integers, with XNNPACK and without, when a spelling is taken at that share of the cost."""
    model, ports = kit.make("Conv", specs, quantised=True, output=(0.3, -20), **options)
    with mock.patch.object(few_channels, "_WORTHWHILE", worthwhile):
        result = kit.lower(model)
    random = np.random.default_rng(3)
    feeds = {name: random.integers(-128, 128, x.shape).astype(np.int8) for name, x, _ in ports}
    return result.operators, [kit.run_tflite(result, feeds, xnnpack)[0] for xnnpack in (True, False)]


def assert_same_integers(kit, specs, **options):
    """The operators of the spelling, and how many different integers were seen."""
    operators, spelled = integers_of(kit, specs, ALWAYS, **options)
    plain_operators, plain = integers_of(kit, specs, NEVER, **options)
    assert "RESHAPE" not in plain_operators
    assert plain_operators["CONV_2D"] == 1
    for ours, wanted in zip(spelled, plain, strict=True):
        np.testing.assert_array_equal(ours, wanted)
    return operators, len(np.unique(wanted))


def conv(kit, channels, depth, kernel, size, batch=1):
    return kit.X((batch, depth, *size)), kit.W(kit.normal(channels, depth, *kernel)), kit.B(kit.normal(channels))


def test_neighbouring_columns_of_few_outputs_are_computed_at_once(kit):
    operators, different = assert_same_integers(kit, conv(kit, 8, 16, (1, 3), (6, 12)), pads=[0, 1, 0, 1])
    assert operators == {"CONV_2D": 1, "RESHAPE": 1}
    assert different > 30


def test_a_head_of_one_channel_computes_many_columns(kit):
    operators, different = assert_same_integers(kit, conv(kit, 1, 16, (1, 1), (4, 32)))
    assert operators == {"CONV_2D": 1, "RESHAPE": 1}
    assert different > 30


def test_columns_that_a_stride_steps_over_become_channels(kit):
    options = {"strides": [2, 2], "pads": [3, 3, 3, 3], "activation": "Relu"}
    operators, different = assert_same_integers(kit, conv(kit, 64, 3, (7, 7), (12, 16)), **options)
    assert operators == {"CONV_2D": 1, "PAD": 1, "RESHAPE": 1}
    assert different > 30


def test_a_stem_of_one_channel_copies_patches_first(kit):
    options = {"pads": [1, 1, 1, 1], "activation": "Relu"}
    operators, different = assert_same_integers(kit, conv(kit, 32, 1, (3, 3), (8, 8), batch=2), **options)
    assert operators == {"CONV_2D": 2, "DEPTH_TO_SPACE": 1, "RESHAPE": 1}
    assert different > 30


@settings(max_examples=60)
@given(
    channels=st.integers(1, 9),
    depth=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(4, 9), st.sampled_from([6, 8, 12])),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_every_window_gives_the_same_integers(kit, channels, depth, kernel, size, strides, pads):
    assert_same_integers(kit, conv(kit, channels, depth, kernel, size), strides=list(strides), pads=pads)


@pytest.mark.parametrize(
    ("specs", "options"),
    [
        ((32, 32, (3, 3), (8, 8)), {"pads": [1, 1, 1, 1]}),
        ((24, 32, (1, 3), (8, 8)), {"pads": [0, 1, 0, 1]}),
        ((8, 16, (1, 3), (8, 9)), {"pads": [0, 1, 0, 1]}),
        ((8, 16, (1, 3), (8, 8)), {"pads": [0, 2, 0, 2], "dilations": [1, 2]}),
    ],
    ids=["enough channels", "nothing to gain", "odd width", "dilated"],
)
def test_other_convolutions_stay_as_they_are(kit, specs, options):
    operators, _ = integers_of(kit, conv(kit, *specs), few_channels._WORTHWHILE, **options)
    assert operators == {"CONV_2D": 1}


def test_where_channels_are_many_no_other_spelling_is_even_made(kit):
    operators, _ = integers_of(kit, conv(kit, 32, 8, (3, 3), (8, 8)), ALWAYS, pads=[1, 1, 1, 1])
    assert operators == {"CONV_2D": 1}


def test_float_convolutions_stay_as_they_are(kit):
    assert kit.check_float("Conv", *conv(kit, 1, 16, (1, 1), (4, 32))).operators == {"CONV_2D": 1}


def test_grouped_convolutions_stay_as_they_are(kit):
    specs = kit.X((1, 8, 4, 32)), kit.W(kit.normal(2, 4, 1, 1)), kit.B(kit.normal(2))
    operators, _ = integers_of(kit, specs, ALWAYS, group=2)
    assert operators == {"CONV_2D": 1}
