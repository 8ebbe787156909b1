from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import QuantisationScheme, quantize, validate_qdq
from edgeconv.export.reference import run_reference
from edgeconv.export.twins import to_int8, to_uint8
from edgeconv.graph import constant_value, to_bytes

Count = Callable[[ir.Model], Counter[str]]

_RNG = np.random.default_rng(0)
_GRAPH = """g (float[1,8,16,16] x, float[8,8,3,3] w, float[1,8,16,16] k, float[16,8,1,1] v) => (float[1,16,8,8] y) {
    c = Conv<pads=[1,1,1,1]>(x, w)  r = Relu(c)  m = Mul(r, k)
    e = Concat<axis=1>(m, r)  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(m)
    q = Conv(p, v)  t = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)  y = Add(q, t)
}"""


@pytest.fixture(scope="module")
def qdq(build_graph: Callable[..., ir.Model]) -> ir.Model:
    model = build_graph(
        _GRAPH,
        w=_RNG.normal(size=(8, 8, 3, 3)).astype(np.float32),
        v=_RNG.normal(size=(16, 8, 1, 1)).astype(np.float32),
        k=_RNG.uniform(0, 2, size=(1, 8, 16, 16)).astype(np.float32),
    )
    samples = [_sample(i) for i in range(2)]
    return quantize(model, collect_statistics(model, samples), samples).model


def _sample(seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(1, 8, 16, 16)).astype(np.float32)}


def test_every_integer_of_the_twin_is_128_more_and_every_float_the_same(qdq: ir.Model) -> None:
    integers = [str(node.outputs[0].name) for node in qdq.graph if node.op_type == "QuantizeLinear"]
    floats = [str(node.outputs[0].name) for node in qdq.graph if node.op_type in ("Conv", "Mul", "DequantizeLinear")]
    signed = run_reference(qdq, _sample(9), taps=[*integers, *floats])
    unsigned = run_reference(to_uint8(qdq), _sample(9), taps=[*integers, *floats])
    for name in integers:
        assert unsigned[name].dtype == np.uint8
        assert np.array_equal(signed[name].astype(np.int16) + 128, unsigned[name])
    for name in floats:
        assert np.array_equal(signed[name], unsigned[name])


def test_weights_and_biases_stay_signed_and_operands_do_not(qdq: ir.Model) -> None:
    twin = to_uint8(qdq)
    dtypes = {name: constant_value(value).dtype for name, value in twin.graph.initializers.items()}
    assert (dtypes["w_q"], dtypes["c/Conv/bias_q"], dtypes["k_q"]) == (np.int8, np.int32, np.uint8)
    assert dtypes["w_zero_point"] == np.int8
    assert constant_value(qdq.graph.initializers["k_q"]).dtype == np.int8  # the original is not touched
    onnx.checker.check_model(ir.to_proto(twin), full_check=True)
    validate_qdq(twin)


def test_the_way_to_uint8_and_back_changes_nothing(qdq: ir.Model) -> None:
    back = to_int8(to_uint8(qdq))
    assert to_bytes(back) == to_bytes(qdq) == to_bytes(to_int8(qdq))
    validate_qdq(back)


def test_fixed_quantisers_and_symmetric_ones_stay_valid_in_the_twin(build_graph: Callable[..., ir.Model]) -> None:
    model = build_graph("g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Sigmoid(x) z = Tanh(x) }")
    samples = [{"x": np.linspace(-2, 2, 4, dtype=np.float32).reshape(1, 4)}]
    for activations in ("asymmetric", "symmetric", "symmetric-outputs"):
        scheme = QuantisationScheme(activations=activations)
        twin = to_uint8(quantize(model, collect_statistics(model, samples), samples, scheme=scheme).model)
        validate_qdq(twin, symmetric=scheme.symmetric)


def test_onnxruntime_fuses_every_operator_of_the_twin(qdq: ir.Model, optimised: Count) -> None:
    left = optimised(to_uint8(qdq))
    assert left["QuantizeLinear"] == 1
    assert left["DequantizeLinear"] == 1
    assert not {"Conv", "Mul", "Concat", "Add"} & set(left)


def test_without_the_twin_onnxruntime_leaves_float_operators(qdq: ir.Model, optimised: Count) -> None:
    """Why there is a twin; should a later ONNX Runtime fuse int8 as well, the twin can go."""
    left = optimised(qdq)
    assert left["Concat"] == 1
    assert left["DequantizeLinear"] > 1
