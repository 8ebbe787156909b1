from __future__ import annotations

import math

import numpy as np
import pytest

SHAPE = (1, 4, 16, 16)
LOGISTIC, TANH = (1 / 256, -128), (1 / 128, 0)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 6.0), (0.0, 1.0), (-0.3, 1.7), (0.5, None), (None, 0.5)])
def test_clip_matches_onnx(kit, bounds):
    low, high = (None if bound is None else np.float32(bound) for bound in bounds)
    specs = kit.X(SHAPE, -3, 9), low, high
    kit.check_float("Clip", *specs)
    kit.check_int8("Clip", *specs)
    kit.check_int8("Clip", *specs, share=True)


def test_relu_matches_onnx_whatever_the_quantiser_of_its_output(kit):
    kit.check_float("Relu", kit.X(SHAPE))
    kit.check_int8("Relu", kit.X(SHAPE))
    kit.check_int8("Relu", kit.X(SHAPE), share=True)
    kit.check_int8("Relu", kit.X(SHAPE), output=kit.quantiser_of(-1, 7))


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.5])
def test_leaky_relu_matches_onnx(kit, alpha):
    kit.check_float("LeakyRelu", kit.X(SHAPE), alpha=alpha)
    kit.check_int8("LeakyRelu", kit.X(SHAPE), alpha=alpha)
    kit.check_int8("LeakyRelu", kit.X(SHAPE), alpha=alpha, share=True)


@pytest.mark.parametrize("slope", [(4, 1, 1), (1,), (4, 16, 16)], ids=str)
def test_prelu_matches_onnx(kit, slope):
    specs = kit.X(SHAPE), kit.C(kit.normal(*slope))
    kit.check_float("PRelu", *specs)
    kit.check_int8("PRelu", *specs)


@pytest.mark.parametrize(("op_type", "fixed"), [("Sigmoid", LOGISTIC), ("Tanh", TANH)])
def test_saturating_activation_runs_in_int8_only_with_the_quantiser_of_its_kernel(kit, op_type, fixed):
    kit.check_float(op_type, kit.X(SHAPE, -6, 6))
    assert "DEQUANTIZE" not in kit.check_int8(op_type, kit.X(SHAPE, -6, 6), output=fixed).operators
    assert "DEQUANTIZE" in kit.check_int8(op_type, kit.X(SHAPE, -6, 6)).operators


@pytest.mark.parametrize("limits", [(-6, 6), (-2, 1), (-30, 40)], ids=str)
def test_hard_swish_matches_onnx(kit, limits):
    kit.check_float("HardSwish", kit.X(SHAPE, *limits))
    kit.check_int8("HardSwish", kit.X(SHAPE, *limits))


@pytest.mark.parametrize("attributes", [{}, {"alpha": 1 / 6, "beta": 0.5}], ids=["default", "torch"])
def test_hard_sigmoid_matches_onnx(kit, attributes):
    kit.check_float("HardSigmoid", kit.X(SHAPE, -6, 6), **attributes)
    kit.check_int8("HardSigmoid", kit.X(SHAPE, -6, 6), **attributes)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("limits", [(-6, 6), (-1, 1), (-20, 30)], ids=str)
def test_gelu_matches_onnx(kit, approximate, limits):
    options = {"approximate": approximate, "opset": 20}
    kit.check_float("Gelu", kit.X(SHAPE, *limits), **options)
    assert kit.check_int8("Gelu", kit.X(SHAPE, *limits), **options).operators == {"GELU": 1}


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_softmax_matches_onnx_over_every_axis(kit, axis):
    kit.check_float("Softmax", kit.X(SHAPE, -6, 6), axis=axis)
    result = kit.check_int8("Softmax", kit.X(SHAPE, -6, 6), axis=axis, output=LOGISTIC)
    assert "DEQUANTIZE" not in result.operators
    assert (result.transposes == 0) == (axis == 1)


def test_softmax_runs_in_float_when_its_output_has_another_quantiser(kit):
    assert "DEQUANTIZE" in kit.check_int8("Softmax", kit.X((3, 10), -6, 6), axis=1).operators


def test_erf_is_good_to_six_digits(kit):
    model, _ = kit.make("Erf", [kit.X((1, 2001))])
    x = np.linspace(-5, 5, 2001, dtype=np.float32)[None]
    expected = np.array([math.erf(value) for value in x[0]])
    assert np.abs(kit.run_tflite(kit.lower(model), {"x0": x})[0][0] - expected).max() < 1e-6


def test_elu_is_refused_when_alpha_is_not_one(kit, refused):
    kit.check_float("Elu", kit.X(SHAPE))
    assert "alpha is 2.0" in refused("Elu", kit.X(SHAPE), alpha=2.0)
