from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.rewrite import FoldBatchNorm, RewriteReport, run_rewrites

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Operators = Callable[[ir.Model], list[str]]
Normal = Callable[..., np.ndarray]

NORM = "float[{c}] s, float[{c}] b, float[{c}] m, float[{c}] v"


def _norm(normal: Normal, channels: int) -> dict[str, np.ndarray]:
    return {"s": normal(channels), "b": normal(channels), "m": normal(channels), "v": normal(channels) ** 2 + 0.01}


@given(
    group=st.sampled_from([1, 2, 3]),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    transposed=st.booleans(),
    bias=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_grouped_convolutions_of_both_directions_take_the_norm(
    build_graph: Build, group: int, inputs: int, outputs: int, transposed: bool, bias: bool
) -> None:
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    rows, columns = (group * inputs, outputs) if transposed else (group * outputs, inputs)
    channels = group * outputs
    size = "8,10" if transposed else "4,6"
    model = build_graph(
        f"""g (float[1,{group * inputs},6,8] x, float[{rows},{columns},3,3] w, float[{channels}] o,
        {NORM.format(c=channels)}) => (float[1,{channels},{size}] y) {{
            c = {"ConvTranspose" if transposed else "Conv"}<group = {group}>(x, w{", o" if bias else ""})
            y = BatchNormalization<epsilon = 0.001>(c, s, b, m, v)
        }}""",
        w=normal(rows, columns, 3, 3),
        o=normal(channels),
        **_norm(normal, channels),
    )
    (report,) = run_rewrites(model, [FoldBatchNorm()])
    assert report.kept
    assert [node.op_type for node in model.graph] == ["ConvTranspose" if transposed else "Conv"]


@pytest.mark.parametrize("transpose", [0, 1])
def test_gemm_takes_the_norm_whatever_its_factors(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal, transpose: int
) -> None:
    shape = (5, 3) if transpose else (3, 5)
    model = build_graph(
        f"""g (float[2,3] x, float[{shape[0]},{shape[1]}] w, float[1,5] c, {NORM.format(c=5)}) => (float[2,5] y) {{
            h = Gemm<alpha = 0.5, beta = 2.0, transB = {transpose}>(x, w, c) y = BatchNormalization(h, s, b, m, v)
        }}""",
        w=normal(*shape),
        c=normal(1, 5),
        **_norm(normal, 5),
    )
    apply(model, FoldBatchNorm())
    assert operators(model) == ["Gemm"]


def test_scale_and_shift_by_channel_are_a_norm_too(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal
) -> None:
    model = build_graph(
        """g (float[1,3,5,6] x, float[4,3,1,1] w, float[1,4,1,1] a, float[4,1,1] b, float d, float[1,4,1,1] e)
        => (float[1,4,5,6] y) {
            c = Conv(x, w) p = Mul(a, c) q = Add(p, b) r = Div(q, d) t = Sub(r, e) y = Relu(t)
        }""",
        w=normal(4, 3, 1, 1),
        a=normal(1, 4, 1, 1),
        b=normal(4, 1, 1),
        d=np.array(3, np.float32),
        e=normal(1, 4, 1, 1),
    )
    assert apply(model, FoldBatchNorm()).changed == 4
    assert operators(model) == ["Conv", "Relu"]


@pytest.mark.parametrize(
    ("body", "constant"),
    [
        ("y = Add(c, k)", (1, 4, 5, 6)),  # varies with the position
        ("y = Mul(c, k)", (5, 1)),
        ("y = Sub(k, c)", (1, 4, 1, 1)),  # not of the form a c + b with a constant on the right
        ("y = Div(k, c)", (1, 4, 1, 1)),
    ],
)
def test_what_is_no_scale_and_shift_by_channel_stays(
    build_graph: Build, apply: Apply, normal: Normal, body: str, constant: tuple[int, ...]
) -> None:
    dims = ",".join(map(str, constant))
    model = build_graph(
        f"""g (float[1,3,5,6] x, float[4,3,1,1] w, float[{dims}] k) => (float[1,4,5,6] y)
        {{ c = Conv(x, w) {body} }}""",
        w=normal(4, 3, 1, 1),
        k=normal(*constant),
    )
    assert apply(model, FoldBatchNorm()).changed == 0


def test_norm_stays_when_the_convolution_has_another_reader(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = build_graph(
        f"""g (float[1,3,5,6] x, float[4,3,1,1] w, {NORM.format(c=4)}) => (float[1,4,5,6] y) {{
            c = Conv(x, w) n = BatchNormalization(c, s, b, m, v) y = Add(n, c)
        }}""",
        w=normal(4, 3, 1, 1),
        **_norm(normal, 4),
    )
    assert apply(model, FoldBatchNorm()).changed == 0


def test_norm_without_a_layer_before_it_stays(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal
) -> None:
    model = build_graph(
        f"""g (float[1,3,5,6] x, float[4,3,1,1] w, {NORM.format(c=3)}) => (float[1,4,5,6] y) {{
            n = BatchNormalization(x, s, b, m, v) y = Conv(n, w)
        }}""",
        w=normal(4, 3, 1, 1),
        **_norm(normal, 3),
    )
    assert apply(model, FoldBatchNorm()).changed == 0
    assert operators(model) == ["BatchNormalization", "Conv"]


def test_convolution_that_shares_the_weights_is_untouched(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = build_graph(
        f"""g (float[1,3,5,6] x, float[4,3,1,1] w, {NORM.format(c=4)}) => (float[1,4,5,6] y, float[1,4,5,6] z) {{
            c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) z = Conv(x, w)
        }}""",
        w=normal(4, 3, 1, 1),
        **_norm(normal, 4),
    )
    assert apply(model, FoldBatchNorm()).changed == 1
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


def test_product_without_a_bias_takes_a_scale_but_no_shift(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal
) -> None:
    model = build_graph(
        """g (float[2,3] x, float[3,5] w, float[5] a, float[5] b) => (float[2,5] y)
        { h = MatMul(x, w) p = Mul(h, a) y = Add(p, b) }""",
        w=normal(3, 5),
        a=normal(5),
        b=normal(5),
    )
    assert apply(model, FoldBatchNorm()).changed == 1
    assert operators(model) == ["MatMul", "Add"]
