from __future__ import annotations

import pytest

WINDOWS = {
    "valid": {},
    "symmetric pads": {"pads": [1, 1, 1, 1]},
    "stride 2 with symmetric pads": {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    "stride 2 without pads": {"strides": [2, 2]},
    "asymmetric pads and strides": {"pads": [0, 1, 2, 0], "strides": [2, 1]},
    "dilated": {"pads": [2, 2, 2, 2], "dilations": [2, 2]},
    "dilated one way": {"pads": [1, 3, 1, 3], "dilations": [1, 3]},
    "SAME_UPPER": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "SAME_LOWER": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
}


@pytest.mark.parametrize("attributes", WINDOWS.values(), ids=WINDOWS.keys())
def test_conv_matches_onnx_for_every_window(kit, attributes):
    specs = kit.X((1, 4, 10, 9)), kit.W(kit.normal(6, 4, 3, 3)), kit.B(kit.normal(6))
    kit.check_float("Conv", *specs, **attributes)
    kit.check_int8("Conv", *specs, **attributes)


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_conv_takes_the_activation_behind_it(kit, activation):
    specs = kit.X((2, 4, 6, 5)), kit.W(kit.normal(8, 4, 1, 1)), kit.B(kit.normal(8))
    assert kit.check_float("Conv", *specs, activation=activation).operators == {"CONV_2D": 1}
    assert kit.check_int8("Conv", *specs, activation=activation).operators == {"CONV_2D": 1}


@pytest.mark.parametrize(
    ("groups", "channels", "operator"),
    [(4, 4, "DEPTHWISE_CONV_2D"), (4, 12, "DEPTHWISE_CONV_2D"), (2, 6, "CONV_2D")],
    ids=["depthwise", "depthwise with multiplier", "grouped"],
)
def test_grouped_conv_is_one_operator(kit, groups, channels, operator):
    specs = kit.X((1, 4, 10, 9)), kit.W(kit.normal(channels, 4 // groups, 3, 3)), kit.B(kit.normal(channels))
    options = {"group": groups, "pads": [1, 1, 1, 1]}
    assert kit.check_float("Conv", *specs, **options).operators == {operator: 1}
    assert kit.check_int8("Conv", *specs, **options).operators == {operator: 1}


def test_dilated_depthwise_conv_matches_onnx(kit):
    specs = kit.X((1, 4, 10, 9)), kit.W(kit.normal(4, 1, 3, 3)), kit.B(kit.normal(4))
    kit.check_float("Conv", *specs, group=4, dilations=[2, 2])
    kit.check_int8("Conv", *specs, group=4, dilations=[2, 2])


def test_conv_without_bias_matches_onnx(kit):
    kit.check_float("Conv", kit.X((1, 4, 6, 6)), kit.W(kit.normal(5, 4, 3, 3)))
    kit.check_int8("Conv", kit.X((1, 4, 6, 6)), kit.W(kit.normal(5, 4, 3, 3)))


def test_conv_over_one_spatial_axis_matches_onnx(kit):
    specs = kit.X((2, 4, 10)), kit.W(kit.normal(6, 4, 3)), kit.B(kit.normal(6))
    kit.check_float("Conv", *specs, pads=[1, 1])
    kit.check_int8("Conv", *specs, pads=[1, 1])


def test_conv_is_refused_when_it_has_three_spatial_axes(kit, refused):
    assert "3 spatial axes" in refused("Conv", kit.X((1, 2, 4, 4, 4)), kit.W(kit.normal(3, 2, 3, 3, 3)))


def test_conv_is_refused_when_its_weights_are_computed(kit, refused):
    assert "weights" in refused("Conv", kit.X((1, 2, 4, 4)), kit.X((3, 2, 3, 3)))
