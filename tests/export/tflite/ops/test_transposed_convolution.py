from __future__ import annotations

import pytest

CASES = {
    "2x2 stride 2": ((8, 3, 2), {"strides": [2, 2]}),
    "SAME": ((8, 3, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "cropped": ((8, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "stride 1": ((8, 3, 3), {"pads": [1, 1, 1, 1]}),
    "output padding beyond the kernel": ((8, 3, 2), {"strides": [3, 3], "output_padding": [2, 2]}),
    "asymmetric": ((8, 3, 3), {"strides": [2, 1], "pads": [0, 1, 1, 0]}),
    "dilated": ((8, 3, 3), {"strides": [2, 2], "dilations": [2, 2]}),
    "grouped": ((8, 3, 3), {"strides": [2, 2], "group": 2}),
    "depthwise": ((8, 1, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 8}),
}


@pytest.mark.parametrize("activation", [None, "Relu"])
@pytest.mark.parametrize(("kernel", "attributes"), CASES.values(), ids=CASES.keys())
def test_conv_transpose_matches_onnx(kit, kernel, attributes, activation):
    inputs, outputs, size = kernel
    bias = kit.normal(outputs * attributes.get("group", 1))
    specs = kit.X((1, inputs, 5, 6)), kit.W(kit.normal(inputs, outputs, size, size), 1), kit.B(bias)
    kit.check_float("ConvTranspose", *specs, activation=activation, **attributes)
    kit.check_int8("ConvTranspose", *specs, activation=activation, **attributes)


def test_upsampling_conv_transpose_is_one_operator(kit):
    specs = kit.X((1, 8, 5, 6)), kit.W(kit.normal(8, 4, 2, 2), 1), kit.B(kit.normal(4))
    assert kit.check_int8("ConvTranspose", *specs, strides=[2, 2]).operators == {"TRANSPOSE_CONV": 1}


def test_conv_transpose_is_refused_when_its_padding_is_implicit(kit, refused):
    specs = kit.X((1, 2, 4, 4)), kit.W(kit.normal(2, 3, 3, 3), 1)
    assert "auto_pad" in refused("ConvTranspose", *specs, auto_pad="SAME_UPPER", strides=[2, 2])
