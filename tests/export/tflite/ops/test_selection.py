from __future__ import annotations

import numpy as np
import pytest

SHAPE = (1, 4, 12, 10)

SLICES = {
    "range": ([1], [3], [1]),
    "two axes": ([1, 2], [100, -1], [2, 3]),
    "steps": ([0, 1], [12, 9], [2, 3], [3, 2]),
    "reversed": ([-1], [-1000], [3], [-1]),
    "backwards in steps": ([9, 8], [2, -1000], [2, 3], [-3, -2]),
}


@pytest.mark.parametrize("arguments", SLICES.values(), ids=SLICES.keys())
def test_slice_matches_onnx(kit, arguments):
    specs = kit.X(SHAPE), *map(np.array, arguments)
    kit.check_float("Slice", *specs, min_sqnr_db=np.inf)
    kit.check_int8("Slice", *specs, share=True)


@pytest.mark.parametrize(
    ("axis", "indices"),
    [(1, [2, 0, 1]), (1, 1), (2, [[1, -1], [0, 2]]), (1, [1, 2])],
    ids=["permutation", "scalar", "matrix", "range"],
)
def test_gather_matches_onnx(kit, axis, indices):
    kit.check_float("Gather", kit.X(SHAPE), np.array(indices), axis=axis, min_sqnr_db=np.inf)
    kit.check_int8("Gather", kit.X(SHAPE), np.array(indices), axis=axis, share=True)


def test_gather_nd_over_the_first_axis_matches_onnx(kit, refused):
    kit.check_float("GatherND", kit.X((4, 3, 2)), np.array([[2], [0]]), min_sqnr_db=np.inf)
    assert "several axes" in refused("GatherND", kit.X((4, 3, 2)), np.array([[2, 1], [0, 1]]))


@pytest.mark.parametrize("axis", [1, 3])
def test_concat_matches_onnx(kit, axis):
    shape = list(SHAPE)
    shape[axis] = 3
    kit.check_float("Concat", kit.X(SHAPE), kit.X(tuple(shape), -1, 4), axis=axis, min_sqnr_db=np.inf)
    kit.check_int8("Concat", kit.X(SHAPE), kit.X(tuple(shape)), axis=axis, share=True)


def test_concat_requantises_inputs_of_another_scale(kit):
    result = kit.check_int8("Concat", kit.X(SHAPE), kit.X(SHAPE, -1, 9), axis=1, output=kit.quantiser_of(-2, 9))
    assert result.operators == {"CONCATENATION": 1, "QUANTIZE": 2}


def test_concat_takes_constants(kit):
    kit.check_float("Concat", kit.X(SHAPE), kit.C(kit.normal(1, 2, 12, 10)), axis=1, min_sqnr_db=np.inf)
    kit.check_int8("Concat", kit.X(SHAPE), kit.C(kit.normal(1, 2, 12, 10)), axis=1, share=True)


def test_split_matches_onnx(kit):
    kit.check_float("Split", kit.X(SHAPE), np.array([1, 3]), axis=1, outputs=2, min_sqnr_db=np.inf)
    kit.check_int8("Split", kit.X(SHAPE), np.array([1, 3]), axis=1, outputs=2, share=True)
    even = kit.check_int8("Split", kit.X(SHAPE), axis=1, outputs=2, num_outputs=2, share=True)
    assert even.operators == {"SPLIT": 1}
    kit.check_int8("Split", kit.X(SHAPE), axis=3, outputs=3, num_outputs=3)


@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 3, 4], [0, 0, -1, 2, 0, 0, 3, -4]], ids=["grow", "crop and grow"])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad_matches_onnx(kit, mode, pads):
    kit.check_float("Pad", kit.X(SHAPE), np.array(pads), mode=mode, opset=19, min_sqnr_db=np.inf)
    kit.check_int8("Pad", kit.X(SHAPE), np.array(pads), mode=mode, opset=19, share=True)


def test_pad_matches_onnx_with_a_value_and_axes(kit):
    specs = kit.X(SHAPE), np.array([1, 2, 3, 4]), np.float32(1.5), np.array([1, 3])
    kit.check_float("Pad", *specs, min_sqnr_db=np.inf)
    assert kit.check_int8("Pad", *specs, share=True).operators == {"PADV2": 1}


def test_pad_is_refused_when_it_reflects_more_than_there_is(kit, refused):
    assert "reflects more" in refused("Pad", kit.X((1, 2, 3, 3)), np.array([0, 0, 3, 0, 0, 0, 0, 0]), mode="reflect")
