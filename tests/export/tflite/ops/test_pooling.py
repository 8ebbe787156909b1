from __future__ import annotations

import pytest

SHAPE = (1, 4, 11, 12)
WINDOWS = {
    "2/2": (2, 2, 0, 0),
    "3/2 padded": (3, 2, 1, 0),
    "3/1 padded": (3, 1, 1, 0),
    "3/2 ceil": (3, 2, 0, 1),
    "3/2 padded ceil": (3, 2, 1, 1),
    "2/2 ceil": (2, 2, 0, 1),
    "5/3 padded": (5, 3, 2, 0),
}


def _attributes(window):
    kernel, stride, pad, ceil = window
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "ceil_mode": ceil}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_max_pool_matches_onnx(kit, window):
    kit.check_float("MaxPool", kit.X(SHAPE), **_attributes(window))
    kit.check_int8("MaxPool", kit.X(SHAPE), share=True, **_attributes(window))
    kit.check_int8("MaxPool", kit.X(SHAPE), **_attributes(window))


@pytest.mark.parametrize("include", [0, 1], ids=["excluding pads", "including pads"])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_average_pool_matches_onnx(kit, window, include):
    # Since opset 19 the divisor of a window that ceil_mode lets overhang is specified.
    options = {**_attributes(window), "count_include_pad": include, "opset": 19}
    kit.check_float("AveragePool", kit.X(SHAPE), **options)
    kit.check_int8("AveragePool", kit.X(SHAPE), share=True, **options)


def test_average_pool_stays_one_lsb_exact_when_its_output_is_quantised_otherwise(kit):
    options = {"kernel_shape": [2, 2], "strides": [2, 2]}
    wider = kit.check_int8("AveragePool", kit.X(SHAPE), output=kit.quantiser_of(-4, 4), **options)
    assert "DEQUANTIZE" not in wider.operators
    narrower = kit.check_int8("AveragePool", kit.X(SHAPE), output=kit.quantiser_of(-1, 1), **options)
    assert "DEQUANTIZE" in narrower.operators


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_max_pool_matches_onnx_with_automatic_pads(kit, mode):
    options = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": mode}
    kit.check_float("MaxPool", kit.X((1, 4, 10, 9)), **options)
    kit.check_int8("MaxPool", kit.X((1, 4, 10, 9)), share=True, **options)


def test_max_pool_pads_with_zero_when_nothing_is_negative(kit):
    options = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "share": True}
    assert "PAD" in kit.check_int8("MaxPool", kit.X((1, 4, 10, 10), 0, 4), **options).operators
    assert "PADV2" in kit.check_int8("MaxPool", kit.X((1, 4, 10, 10), -1, 4), **options).operators


def test_pool_over_one_spatial_axis_matches_onnx(kit):
    kit.check_float("MaxPool", kit.X((1, 4, 10)), kernel_shape=[2], strides=[2])
    kit.check_float("AveragePool", kit.X((1, 4, 10)), kernel_shape=[3], pads=[1, 1], count_include_pad=0)


def test_pool_is_refused_when_its_window_is_dilated(kit, refused):
    assert "dilated" in refused("MaxPool", kit.X(SHAPE), kernel_shape=[2, 2], dilations=[2, 2])


def test_max_pool_is_refused_when_its_indices_are_read(kit, refused):
    assert "output 1 is read" in refused("MaxPool", kit.X(SHAPE), kernel_shape=[2, 2], outputs=2)
