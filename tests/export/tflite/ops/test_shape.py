from __future__ import annotations

import numpy as np
import pytest

SHAPE = (1, 4, 12, 10)


@pytest.mark.parametrize("shape", [(1, -1), (1, 2, 2, 12, 10), (1, 4, 120), (1, 3, 10, 16), (8, 6, 10)], ids=str)
def test_reshape_matches_onnx(kit, shape):
    kit.check_float("Reshape", kit.X(SHAPE), np.array(shape), min_sqnr_db=np.inf)
    kit.check_int8("Reshape", kit.X(SHAPE), np.array(shape), share=True)


def test_flatten_of_a_map_transposes_once_and_of_a_vector_never(kit):
    assert kit.check_int8("Flatten", kit.X(SHAPE), axis=1, share=True).transposes == 1
    assert kit.check_int8("Flatten", kit.X((2, 4, 1, 1)), axis=1, share=True).transposes == 0


@pytest.mark.parametrize("permutation", [[0, 2, 3, 1], [0, 1, 3, 2], [3, 2, 1, 0], [1, 0, 2, 3]], ids=str)
def test_transpose_matches_onnx(kit, permutation):
    kit.check_float("Transpose", kit.X(SHAPE), perm=permutation, min_sqnr_db=np.inf)
    assert kit.check_int8("Transpose", kit.X(SHAPE), perm=permutation, share=True).transposes == 1


def test_transpose_without_permutation_reverses_the_axes(kit):
    kit.check_float("Transpose", kit.X((3, 5)), min_sqnr_db=np.inf)


@pytest.mark.parametrize(
    ("op_type", "shape", "axes"),
    [("Squeeze", (1, 4, 1, 6), [2]), ("Squeeze", (1, 4, 1, 6), None), ("Unsqueeze", (4, 6), [0, 3])],
)
def test_axes_of_size_one_come_and_go(kit, op_type, shape, axes):
    specs = (kit.X(shape),) if axes is None else (kit.X(shape), np.array(axes))
    kit.check_float(op_type, *specs, min_sqnr_db=np.inf)
    kit.check_int8(op_type, *specs, share=True)


@pytest.mark.parametrize(
    ("shape", "target"), [((1, 4, 1, 1), (1, 4, 3, 5)), ((4, 1), (2, 4, 5)), (SHAPE, (1, 1, 1, 1))], ids=str
)
def test_expand_matches_onnx(kit, shape, target):
    kit.check_float("Expand", kit.X(shape), np.array(target), min_sqnr_db=np.inf)
    kit.check_int8("Expand", kit.X(shape), np.array(target), share=True)


@pytest.mark.parametrize(("op_type", "attributes"), [("Identity", {}), ("Dropout", {}), ("Cast", {"to": 1})])
def test_operator_that_does_nothing_costs_a_copy_of_the_input_at_most(kit, op_type, attributes):
    assert kit.check_int8(op_type, kit.X(SHAPE), share=True, **attributes).operators == {"RESHAPE": 1}


def test_cast_to_another_type_is_refused(kit, refused):
    assert "changes the type" in refused("Cast", kit.X(SHAPE), to=10)
