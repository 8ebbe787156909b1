from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPE = (1, 3, 7, 6)
COORDINATES = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]


def _sizes(kit, height, width, shape=SHAPE):
    return kit.X(shape), None, None, np.array([*shape[:2], height, width])


def _scales(kit, *scales):
    return kit.X(SHAPE), None, np.array([1, 1, *scales], np.float32)


@pytest.mark.parametrize("size", [(14, 12), (13, 9), (5, 4), (1, 1)], ids=str)
@pytest.mark.parametrize("mode", COORDINATES)
def test_linear_resize_matches_onnx(kit, mode, size):
    options = {"mode": "linear", "coordinate_transformation_mode": mode}
    assert "RESIZE_BILINEAR" in kit.check_float("Resize", *_sizes(kit, *size), **options).operators
    # Without XNNPACK the int8 kernel keeps positions in 1/1024 of a pixel: exact for the usual factors only.
    result = kit.check_int8("Resize", *_sizes(kit, *size), share=True, delegates=[True], **options)
    assert "DEQUANTIZE" not in result.operators


@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel", "pytorch_half_pixel"])
def test_doubling_matches_onnx_in_every_kernel(kit, mode):
    options = {"mode": "linear", "coordinate_transformation_mode": mode}
    kit.check_float("Resize", *_scales(kit, 2, 2), **options)
    kit.check_int8("Resize", *_scales(kit, 2, 2), share=True, **options)


def test_linear_resize_stays_one_lsb_exact_when_its_output_is_quantised_otherwise(kit):
    specs = _scales(kit, 2, 2)
    wider = kit.check_int8("Resize", *specs, mode="linear", output=kit.quantiser_of(-4, 4))
    assert "DEQUANTIZE" not in wider.operators
    narrower = kit.check_int8("Resize", *specs, mode="linear", output=kit.quantiser_of(-1, 1))
    assert "DEQUANTIZE" in narrower.operators


@pytest.mark.parametrize("size", [(14, 12), (13, 9), (5, 4)], ids=str)
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("mode", COORDINATES)
def test_nearest_resize_takes_the_entries_that_onnx_takes(kit, mode, rounding, size):
    options = {"mode": "nearest", "coordinate_transformation_mode": mode, "nearest_mode": rounding}
    kit.check_float("Resize", *_sizes(kit, *size), min_sqnr_db=np.inf, **options)
    kit.check_int8("Resize", *_sizes(kit, *size), share=True, **options)


TORCH_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def test_nearest_resize_of_torch_is_one_operator(kit):
    assert kit.check_int8("Resize", *_scales(kit, 2, 2), share=True, **TORCH_NEAREST).operators == {
        "RESIZE_NEAREST_NEIGHBOR": 1
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.integers(1, 90))
def test_nearest_resize_of_torch_is_exact_for_all_sizes(kit, height, width, new_height, new_width):
    specs = _sizes(kit, new_height, new_width, (1, 1, height, width))
    kit.check_float("Resize", *specs, min_sqnr_db=np.inf, **TORCH_NEAREST)


def test_resize_of_one_spatial_axis_matches_onnx(kit):
    scales = np.array([1, 1, 2], np.float32)
    kit.check_float("Resize", kit.X((1, 3, 7)), None, scales, mode="linear")
    kit.check_float("Resize", kit.X((1, 3, 7)), None, scales, **TORCH_NEAREST)


def test_resize_matches_onnx_when_only_some_axes_are_given(kit):
    scales = np.array([2, 3], np.float32)
    kit.check_float("Resize", kit.X(SHAPE), None, scales, axes=[2, 3], mode="linear")


def test_cubic_resize_is_refused_by_name(kit, refused):
    assert "its mode is cubic" in refused("Resize", *_scales(kit, 2, 2), mode="cubic")


def test_linear_resize_is_refused_when_tflite_samples_elsewhere(kit, refused):
    reason = refused("Resize", *_scales(kit, 1.7, 1.7), mode="linear")
    assert "cannot sample (7, 6) to (11, 10)" in reason


def test_antialiased_shrinking_is_refused(kit, refused):
    assert "antialiasing" in refused("Resize", *_scales(kit, 0.5, 0.5), mode="linear", antialias=1)
