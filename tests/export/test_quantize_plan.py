from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.quantize import observed_tensors
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.plan import plan_operations

Build = Callable[..., ir.Model]
_W = np.ones((2, 2, 1, 1), np.float32)


def _plan(model: ir.Model) -> dict[str, Operation]:
    return {str(operation.node.name): operation for operation in plan_operations(model.graph).operations}


@pytest.mark.parametrize(
    ("activation", "fused"),
    [("Relu(c)", True), ("Clip(c, low, high)", True), ("Sigmoid(c)", False), ("Clip(c, low, other)", False)],
)
def test_only_relu_and_relu6_are_fused(build_graph: Build, activation: str, fused: bool) -> None:
    model = build_graph(
        f"g (float[1,2,4,4] x, float[2,2,1,1] w, float low, float high, float other) => (float[1,2,4,4] y) {{"
        f" c = Conv(x, w) y = {activation} }}",
        w=_W,
        low=np.array(0, np.float32),
        high=np.array(6, np.float32),
        other=np.array(5, np.float32),
    )
    plan = plan_operations(model.graph)
    assert (plan.operations[0].activation is not None) == fused
    assert {value.name for value in plan.quantised} == ({"x", "y"} if fused else {"x", "c", "y"})


def test_a_relu_beside_another_reader_is_not_fused(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] y) { c = Conv(x, w) r = Relu(c) y = Add(r, c) }",
        w=_W,
    )
    plan = _plan(model)
    assert plan["c/Conv"].activation is None
    assert plan["r/Relu"].is_int8


def test_a_relu_behind_a_graph_output_is_not_fused(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] c, float[1,2,4,4] y) { c = Conv(x, w) y = Relu(c) }",
        w=_W,
    )
    assert _plan(model)["c/Conv"].activation is None


@pytest.mark.parametrize(
    ("body", "node", "reason"),
    [
        ("y = Div(x, x)", "y/Div", "no int8 form"),
        ("y = HardSigmoid(x)", "y/HardSigmoid", "no int8 form"),
        ("y = Conv(x, x)", "y/Conv", "its weights are computed at run time"),
        ("y = Resize<mode=\"cubic\">(x, , scales)", "y/Resize", "cubic interpolation"),
        ("y = Pad(x, pads, low)", "y/Pad", "its fill value is not finite"),
        ("y, i = MaxPool<kernel_shape=[2,2]>(x) f = Cast<to=1>(i) z = Sqrt(f)",
         "y/MaxPool", "its second output is used"),
        ("t = Add(w, w) y = Mul(x, t)", "t/Add", "computes on constants only"),
        ("s = Shape(x) t = Add(s, s) z = Cast<to=1>(t) y = Relu(x)", "t/Add", "computes no floats"),
        ("t = Relu(x) y = Sqrt(x)", "t/Relu", "nothing reads it"),
    ],
)  # fmt: skip
def test_what_has_no_int8_form_stays_float_and_says_why(build_graph: Build, body: str, node: str, reason: str) -> None:
    second = {"z = Sqrt(f)": ", float[4,4,1,1] z", "z = Cast": ", float[4] z"}
    outputs = "float[A,B,C,D] y" + "".join(port for text, port in second.items() if text in body)
    model = build_graph(
        f"g (float[4,4,2,2] x, float[1] w, float[4] scales, int64[8] pads, float low) => ({outputs}) {{ {body} }}",
        w=np.ones(1, np.float32),
        scales=np.array([1, 1, 2, 2], np.float32),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        low=np.array(-np.inf, np.float32),
    )
    assert _plan(model)[node].reason == reason


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [("", ""), ("<transB=1>", ""), ("<alpha=2.0>", "alpha"), ("<beta=0.5>", "alpha"), ("<transA=1>", "alpha")],
)
def test_a_scaled_gemm_stays_float(build_graph: Build, attributes: str, reason: str) -> None:
    model = build_graph(
        f"g (float[4,4] x, float[4,4] w, float[4] b) => (float[4,4] y) {{ y = Gemm{attributes}(x, w, b) }}",
        w=np.eye(4, dtype=np.float32),
        b=np.ones(4, np.float32),
    )
    assert _plan(model)["y/Gemm"].reason.startswith(reason)
    assert _plan(model)["y/Gemm"].is_int8 == (not reason)


def test_cheap_operators_between_float_ones_stay_float(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x) => (float[1,2,4,4] y) {"
        " p = Abs(x) m = Add(p, p) s = Sqrt(m) r = Relu(s) d = Neg(r) t = Relu(d) y = Mul(t, x) }"
    )
    decided = {name: operation.is_int8 for name, operation in _plan(model).items()}
    assert not decided["m/Add"]
    assert not decided["r/Relu"]
    assert decided["t/Relu"]  # touches Mul, which reads the input port
    assert decided["y/Mul"]


def test_a_weighted_operator_between_float_ones_is_int8(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] y) { a = Abs(x) c = Conv(a, w) y = Neg(c) }", w=_W
    )
    plan = plan_operations(model.graph)
    assert [operation.is_int8 for operation in plan.operations] == [False, True, False]
    assert {value.name for value in plan.quantised} == {"x", "a", "c", "y"}


def test_only_tensors_with_a_range_of_their_own_are_observed(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,4,2,2] y) {"
        " c = Conv(x, w) r = Relu(c) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)"
        " q = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x) y = Concat<axis=1>(p, q) }",
        w=_W,
    )
    assert observed_tensors(model) == ["x", "r"]
