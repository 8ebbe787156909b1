from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.benchmarks.agent.feeds import dequantise, make_inputs, normalise, order_specs, quantise, read_outputs
from edgeconv.errors import BundleError
from edgeconv.manifest import Normalisation, Port, TensorSpec
from edgeconv.runtimes.onnxruntime import import_onnxruntime

FLOATS = hnp.arrays(np.float32, (1, 2, 3, 4), elements=st.floats(-1000, 1000, width=32))
IMAGES = hnp.arrays(np.uint8, (1, 2, 3, 4))
PORT = Port("x", [1, 2, 3, 4], "uint8", "NCHW", Normalisation(1 / 255, [0.4, 0.5], [0.2, 0.25]))
INT8 = TensorSpec("x", "t", [1, 3, 4, 2], "NHWC", "int8", 0.05, -3)


def _onnx_quantiser(spec):
    from onnx import TensorProto, helper

    kind = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}[spec.dtype]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "q",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 4])],
        [helper.make_tensor_value_info("q", kind, None), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [spec.scale]),
            helper.make_tensor("z", kind, [], [spec.zero_point]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


SPECS = [
    TensorSpec("x", "x", [1, 2, 3, 4], "NCHW", "int8", float(np.float32(0.0371)), -17),
    TensorSpec("x", "x", [1, 2, 3, 4], "NCHW", "uint8", float(np.float32(3.1)), 200),
    TensorSpec("x", "x", [1, 2, 3, 4], "NCHW", "int8", 0.5, 1),  # ties: halves are exact
]
SESSIONS = [(spec, _onnx_quantiser(spec)) for spec in SPECS]


@given(FLOATS)
def test_quantise_and_dequantise_agree_with_onnx(array):
    for spec, session in SESSIONS:
        integers, floats = session.run(None, {"x": array})
        np.testing.assert_array_equal(quantise(array, spec), integers)
        np.testing.assert_array_equal(dequantise(integers, spec), floats)


def test_quantise_rounds_halves_to_even_and_saturates():
    spec = TensorSpec("x", "x", [5], "as-is", "int8", 1.0, 0)
    np.testing.assert_array_equal(
        quantise(np.array([0.5, 1.5, -2.5, 1e9, -1e9], np.float32), spec), np.array([0, 2, -2, 127, -128], np.int8)
    )


@given(st.floats(0.01, 10), st.floats(-3, 3), st.floats(0.1, 5))
def test_normalise_is_the_documented_formula(scale: float, mean: float, std: float) -> None:
    raw = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    port = Port("x", [1, 2, 3], "uint8", "as-is", Normalisation(scale, [mean, 0.0], [std, 1.0]))
    out = normalise(raw, port)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[0, 0], (raw[0, 0] * scale - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[0, 1], raw[0, 1] * scale, rtol=1e-5)


def test_normalise_leaves_a_float_port_without_normalisation_alone():
    array = np.linspace(-3, 3, 24, dtype=np.float32).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(normalise(array, Port("x", [1, 2, 3, 4], "float32", "NCHW")), array)


@given(IMAGES)
def test_inputs_are_normalised_transposed_and_quantised(image):
    (found,) = make_inputs({"x": image}, [PORT], [INT8])
    mean, std = np.array([0.4, 0.5], np.float32), np.array([0.2, 0.25], np.float32)
    wanted = (image.astype(np.float32).transpose(0, 2, 3, 1) * np.float32(1 / 255) - mean) / std
    np.testing.assert_array_equal(found, np.clip(np.rint(wanted / np.float32(0.05)) - 3, -128, 127).astype(np.int8))
    assert found.flags.c_contiguous


@given(hnp.arrays(np.int8, (1, 3, 4, 2)))
def test_outputs_are_dequantised_and_transposed_back(integers):
    port = Port("x", [1, 2, 3, 4], "float32", "NCHW")
    found = read_outputs([integers], [port], [INT8])["x"]
    wanted = (integers.astype(np.float32) + 3) * np.float32(0.05)
    np.testing.assert_array_equal(found, wanted.transpose(0, 3, 1, 2))
    (again,) = make_inputs({"x": found}, [port], [INT8])
    np.testing.assert_array_equal(again, integers)


def test_specs_follow_the_order_of_the_loaded_model():
    a, b = (TensorSpec(name, name, [1], "as-is", "float32") for name in "ab")
    assert order_specs([a, b], ["b", "a"]) == [b, a]
    with pytest.raises(BundleError, match="has tensors a, c, the manifest says a, b"):
        order_specs([a, b], ["a", "c"])


def test_a_wrong_output_shape_is_told_with_both_shapes():
    spec = TensorSpec("y", "y", [1, 2], "as-is", "float32")
    with pytest.raises(BundleError, match=r"Output y has shape \[2, 1\], the manifest says \[1, 2\]"):
        read_outputs([np.zeros((2, 1), np.float32)], [Port("y", [1, 2], "float32", "as-is")], [spec])


def test_an_output_of_another_dtype_than_the_manifests_is_refused():
    spec = TensorSpec("y", "y", [1, 2], "as-is", "float32")
    with pytest.raises(BundleError, match="Output y is float64, the manifest says float32"):
        read_outputs([np.zeros((1, 2))], [Port("y", [1, 2], "float32", "as-is")], [spec])


def test_a_scalar_stays_one():
    port, spec = Port("s", [], "float32", "as-is"), TensorSpec("s", "s", [], "as-is", "float32")
    (array,) = make_inputs({"s": np.array(2.5, np.float32)}, [port], [spec])
    assert array.shape == ()
    assert read_outputs([np.array(2.5, np.float32)], [port], [spec])["s"].shape == ()
