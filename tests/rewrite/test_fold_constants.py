from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value
from edgeconv.rewrite import FoldConstants, RewriteReport

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Operators = Callable[[ir.Model], list[str]]
Normal = Callable[..., np.ndarray]

ENCODER = """g (float[1,8,5,7] x, float[35,2] coords, float[2,16] w1, float[16,8] w2) => (float[1,8,5,7] y) {
    h = MatMul(coords, w1) r = Relu(h) g0 = MatMul(r, w2) g1 = Relu(g0)
    shape = Constant<value = int64[4] {1, 5, 7, 8}>() v = Reshape(g1, shape)
    gate = Transpose<perm = [0, 3, 1, 2]>(v) y = Mul(x, gate)
}"""


def test_coordinate_encoder_becomes_one_map(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal
) -> None:
    rows, columns = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 7), indexing="ij")
    coords = np.stack([rows.ravel(), columns.ravel()], -1).astype(np.float32)
    w1, w2 = normal(2, 16), normal(16, 8)
    model = build_graph(ENCODER, coords=coords, w1=w1, w2=w2)
    report = apply(model, FoldConstants())
    assert operators(model) == ["Mul"]
    expected = np.maximum(np.maximum(coords @ w1, 0) @ w2, 0).reshape(5, 7, 8).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(constant_value(model.graph.initializers["gate"]), expected, rtol=1e-5)
    assert set(model.graph.initializers) == {"gate"}
    assert report.details == (
        "gate: constant 1x8x5x7 float32, 1120 bytes",
        f"constants grew by {1120 - coords.nbytes - w1.nbytes - w2.nbytes} bytes",
    )


def test_shape_arithmetic_and_casts_like_the_input_disappear(
    build_graph: Build, apply: Apply, operators: Operators
) -> None:
    model = build_graph(
        """g (float[2,3,4,5] x) => (float[2,60] y) {
            s = Shape(x) zero = Constant<value = int64 {0}>() axis = Constant<value = int64[1] {0}>()
            n = Gather(s, zero) n1 = Unsqueeze(n, axis) rest = Constant<value = int64[1] {-1}>()
            target = Concat<axis = 0>(n1, rest) flat = Reshape(x, target)
            half = Constant<value = double {0.5}>() typed = CastLike(half, x) y = Mul(flat, typed)
        }"""
    )
    apply(model, FoldConstants())
    assert operators(model) == ["Reshape", "Mul"]


def test_shape_that_is_known_only_after_folding_another_is_folded_too(
    build_graph: Build, apply: Apply, operators: Operators
) -> None:
    model = build_graph(
        """g (float[2,12] x) => (float[24] y) {
            a = Constant<value = float[3] {2, 3, 4}>() target = Cast<to = 7>(a) r = Reshape(x, target)
            n = Size(r) axis = Constant<value = int64[1] {0}>() all = Unsqueeze(n, axis) y = Reshape(r, all)
        }"""
    )
    apply(model, FoldConstants())
    assert operators(model) == ["Reshape", "Reshape"]


def test_identity_and_dropout_are_bypassed_and_dead_nodes_removed(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal
) -> None:
    model = build_graph(
        """g (float[1,3,4,4] x, float[2,3,1,1] w, float[9] unread) => (float[1,2,4,4] y) {
            i = Identity(x) d = Dropout(i) dead = Exp(d) c = Conv(d, w) y = Identity(c)
        }""",
        w=normal(2, 3, 1, 1),
        unread=normal(9),
    )
    apply(model, FoldConstants())
    assert operators(model) == ["Conv"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert set(model.graph.initializers) == {"w"}


def test_identity_between_two_ports_stays(build_graph: Build, apply: Apply, operators: Operators) -> None:
    model = build_graph("g (float[1,2] x) => (float[1,2] y) { y = Identity(x) }")
    assert apply(model, FoldConstants()).changed == 0
    assert operators(model) == ["Identity"]


def test_random_and_quantised_constants_stay(build_graph: Build, operators: Operators) -> None:
    model = build_graph(
        """g (float[1,2] x, int8[2] q, float s) => (float[1,2] y) {
            w = DequantizeLinear(q, s) r = RandomNormal<shape = [2]>() a = Add(w, r) y = Mul(x, a)
        }""",
        q=np.array([3, -4], np.int8),
        s=np.array(0.5, np.float32),
    )
    FoldConstants().apply(model)  # not through the check: the graph is random
    assert operators(model) == ["DequantizeLinear", "RandomNormal", "Add", "Mul"]


def test_constant_output_keeps_a_node_of_its_own(build_graph: Build, apply: Apply, operators: Operators) -> None:
    model = build_graph(
        """g (float[2] x) => (float[2] y, float[2] z) {
            a = Constant<value = float[2] {1, 4}>() b = Sqrt(a) z = Neg(b) y = Add(x, b)
        }"""
    )
    apply(model, FoldConstants())
    assert sorted(operators(model)) == ["Add", "Neg"]
