from __future__ import annotations

import pytest


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("flip_weights", [0, 1])
@pytest.mark.parametrize("flip_input", [0, 1])
def test_gemm_matches_onnx(kit, rows, flip_weights, flip_input):
    x = kit.X((7, rows) if flip_input else (rows, 7))
    weights = kit.W(kit.normal(6, 7), 0) if flip_weights else kit.W(kit.normal(7, 6), 1)
    options = {"transA": flip_input, "transB": flip_weights, "activation": "Relu"}
    kit.check_float("Gemm", x, weights, kit.B(kit.normal(6)), **options)
    assert "DEQUANTIZE" not in kit.check_int8("Gemm", x, weights, kit.B(kit.normal(6)), **options).operators


def test_gemm_folds_its_factors_into_float_weights(kit):
    specs = kit.X((3, 7)), kit.W(kit.normal(7, 6), 1), kit.B(kit.normal(6))
    kit.check_float("Gemm", *specs, alpha=0.5, beta=2.0)
    kit.check_int8("Gemm", *specs, alpha=0.5, beta=2.0)


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 7), (1, 2, 3, 7)], ids=str)
def test_product_with_a_constant_matrix_matches_onnx(kit, shape):
    specs = kit.X(shape), kit.W(kit.normal(7, 6), 1)
    assert "FULLY_CONNECTED" in kit.check_float("MatMul", *specs).operators
    # One scale for each channel is safe in old runtimes as a convolution only.
    assert "CONV_2D" in kit.check_int8("MatMul", *specs).operators


@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3, 7), (2, 7, 4)), ((2, 3, 7), (1, 7, 4)), ((1, 2, 3, 7), (1, 2, 7, 4)), ((8, 64), (64, 8))],
)
def test_product_of_two_activations_matches_onnx(kit, left, right):
    kit.check_float("MatMul", kit.X(left), kit.X(right, -1, 2))
    assert "DEQUANTIZE" not in kit.check_int8("MatMul", kit.X(left), kit.X(right, -1, 2), activation="Relu").operators


def test_product_with_constants_of_any_rank_matches_onnx(kit):
    for specs in (
        (kit.C(kit.normal(5, 3)), kit.X((3, 4))),
        (kit.X((2, 3, 7)), kit.C(kit.normal(2, 7, 4))),
        (kit.X((1, 2, 3, 7)), kit.C(kit.normal(1, 2, 7, 4))),
    ):
        kit.check_float("MatMul", *specs)
        kit.check_int8("MatMul", *specs)


def test_product_with_a_vector_is_refused(kit, refused):
    assert "vector" in refused("MatMul", kit.X((3, 7)), kit.X((7,)))
