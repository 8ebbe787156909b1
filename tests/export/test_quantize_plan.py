from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.quantize import observed_tensors
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.placement import Placement
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


def _int8(build_graph: Build, text: str, **constants: np.ndarray) -> dict[str, bool]:
    return {name: operation.is_int8 for name, operation in _plan(build_graph(text, **constants)).items()}


def test_what_only_float_operators_read_or_feed_stays_float(build_graph: Build) -> None:
    decided = _int8(
        build_graph,
        "g (float[1,2,4,4] x) => (float[1,2,4,4] y) {"
        " p = Abs(x) m = Add(p, p) s = Sqrt(m) r = Relu(s) d = Neg(r) t = Relu(d) y = Mul(t, x) }",
    )
    assert not decided["m/Add"]
    assert not decided["r/Relu"]
    assert not decided["t/Relu"]
    assert decided["y/Mul"]  # reads the input port, which is int8


def test_moving_values_between_integers_and_floats_is_done_on_integers(build_graph: Build) -> None:
    decided = _int8(
        build_graph,
        "g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,2,2] y) {"
        " c = Conv(x, w) t = Transpose<perm=[0,1,3,2]>(c) n = Neg(t) u = Transpose<perm=[0,1,3,2]>(n) e = Neg(u)"
        " p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e) y = Conv(p, w) }",
        w=_W,
    )
    assert decided["t/Transpose"]
    assert not decided["u/Transpose"]
    assert decided["p/MaxPool"]


_FACTORISATION = (
    "g (float[1,3,4] x, float[3,3,1] k, float[4,2] v0, float[1] eps, float[2] g0, int64[1] start, int64[1] stop)"
    " => (float[1,3,4] y) {"
    " c = Conv(x, k) xt = Transpose<perm=[0,2,1]>(c)"
    " a = MatMul(c, v0) ae = Add(a, eps) u = Div(ae, g0) ut = Transpose<perm=[0,2,1]>(u)"
    " gram = MatMul(ut, u) b = MatMul(xt, u) s = Slice(gram, start, stop, start) d = Add(s, eps)"
    " v = Div(b, d) vt = Transpose<perm=[0,2,1]>(v) r = MatMul(u, vt) h = Mul(r, eps) y = Conv(h, k) }"
)


def test_an_iterated_quotient_is_float_from_its_matrix_to_its_result(build_graph: Build) -> None:
    """X V0, which has weights, too; but not the Conv that makes X, nor the one that reads the result."""
    decided = _int8(
        build_graph,
        _FACTORISATION,
        k=np.ones((3, 3, 1), np.float32),
        v0=np.ones((4, 2), np.float32),
        eps=np.full(1, 1e-6, np.float32),
        g0=np.ones(2, np.float32),
        start=np.ones(1, np.int64),
        stop=np.full(1, 2, np.int64),
    )
    assert {name for name, int8 in decided.items() if int8} == {"c/Conv", "y/Conv"}


def test_a_product_with_weights_between_float_operators_is_int8(build_graph: Build) -> None:
    decided = _int8(
        build_graph,
        "g (float[4,4] x, float[4,4] w) => (float[4,4] y) { a = Neg(x) m = MatMul(a, w) y = Neg(m) }",
        w=np.ones((4, 4), np.float32),
    )
    assert decided["m/MatMul"]


def test_attention_is_int8(build_graph: Build) -> None:
    decided = _int8(
        build_graph,
        "g (float[1,4,8] x, float[8,8] q, float[8,8] k, float[8,8] v, float s) => (float[1,4,8] y) {"
        " a = MatMul(x, q) b = MatMul(x, k) c = MatMul(x, v) bt = Transpose<perm=[0,2,1]>(b) d = MatMul(a, bt)"
        " e = Mul(d, s) f = Softmax<axis=-1>(e) m = MatMul(f, c) y = MatMul(m, v) }",
        s=np.array(0.35, np.float32),
        **{name: np.ones((8, 8), np.float32) for name in "qkv"},
    )
    assert all(decided.values())


def test_a_gelu_written_with_erf_is_float_inside_and_quantised_at_its_ends(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,2,1,1] w, float root, float one, float half) => (float[1,2,4,4] y) {"
        " c = Conv(x, w) d = Div(c, root) e = Erf(d) p = Add(e, one) m = Mul(c, p) h = Mul(m, half) y = Conv(h, w) }",
        w=_W,
        root=np.array(2**0.5, np.float32),
        one=np.array(1, np.float32),
        half=np.array(0.5, np.float32),
    )
    assert {value.name for value in plan_operations(model.graph).quantised} == {"x", "c", "h", "y"}


@pytest.mark.parametrize("placement", list(Placement))
def test_products_without_weights_are_float_in_every_scheme(build_graph: Build, placement: Placement) -> None:
    model = build_graph(
        "g (float[1,4,4] x, float[4,4] w) => (float[1,4,4] y) {"
        " a = MatMul(x, w) b = MatMul(a, w) c = MatMul(b, b) y = Div(c, b) }",
        w=np.ones((4, 4), np.float32),
    )
    operations = plan_operations(model.graph, placement=placement).operations
    decided = {str(operation.node.name): operation.is_int8 for operation in operations}
    assert decided["b/MatMul"]
    assert not decided["c/MatMul"]


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


@pytest.mark.parametrize(("value", "float_"), [(-100.0, True), (-1e4, True), (-3.0, False)])
def test_a_softmax_of_masked_scores_stays_in_float_with_what_leads_there(
    build_graph: Build, value: float, float_: bool
) -> None:
    mask = np.array([[0, value], [0, 0]], np.float32)
    model = build_graph(
        "g (float[1,2,2] x, float[2,2] m, int64[2] s) => (float[1,2,2] y) {"
        " q = MatMul(x, x) a = Add(q, m) f = Reshape(a, s) p = Softmax(f) u = Reshape(p, t) y = MatMul(u, x) }".replace(
            "int64[2] s)", "int64[2] s, int64[3] t)"
        ),
        m=mask,
        s=np.array([2, 2], np.int64),
        t=np.array([1, 2, 2], np.int64),
    )
    plan = _plan(model)
    assert [not plan[f"{name}/{kind}"].is_int8 for name, kind in (("a", "Add"), ("p", "Softmax"))] == [float_] * 2
    assert plan["y/MatMul"].is_int8


def test_a_constant_output_has_no_quantiser(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,2,1,1] w, float[3] anchors) => (float[1,2,4,4] y, float[3] anchors)"
        " { y = Conv(x, w) }",
        w=_W,
        anchors=np.ones(3, np.float32),
    )
    assert {value.name for value in plan_operations(model.graph).quantised} == {"x", "y"}
