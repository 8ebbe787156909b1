from __future__ import annotations

import numpy as np
import pytest

SHAPE = (1, 4, 12, 10)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [1], [-1], [0, 1, 2, 3], [1, 3]], ids=str)
@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
def test_reduction_matches_onnx_over_any_axes(kit, op_type, axes, keepdims):
    specs = kit.X(SHAPE), np.array(axes)
    kit.check_float(op_type, *specs, keepdims=keepdims)
    assert "DEQUANTIZE" not in kit.check_int8(op_type, *specs, keepdims=keepdims).operators


def test_reduction_matches_onnx_when_axes_are_an_attribute(kit):
    kit.check_float("ReduceMean", kit.X(SHAPE), axes=[2, 3], opset=13)


@pytest.mark.parametrize("noop", [0, 1])
def test_reduction_without_axes_is_over_all_or_none(kit, noop):
    kit.check_float("ReduceSum", kit.X(SHAPE), noop_with_empty_axes=noop)


def test_reduction_over_axes_of_size_one_is_the_identity(kit):
    result = kit.check_int8("ReduceMean", kit.X((1, 4, 1, 6)), np.array([2]), keepdims=0, share=True)
    assert "MEAN" not in result.operators


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("share", [False, True])
def test_global_pool_matches_onnx(kit, op_type, share):
    kit.check_float(op_type, kit.X((1, 4, 40, 50)))
    kit.check_int8(op_type, kit.X((1, 4, 40, 50)), share=share)


def test_euclidean_norm_matches_onnx(kit):
    kit.check_float("ReduceL2", kit.X(SHAPE), np.array([1]))
