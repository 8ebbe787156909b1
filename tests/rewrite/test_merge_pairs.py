from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeconv.errors import UsageError
from edgeconv.graph import constant_value, infer_shapes, static_shape
from edgeconv.rewrite import MergePairs, RewriteReport, factor_pairs, run_rewrites
from edgeconv.rewrite._evaluate import evaluate

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Operators = Callable[[ir.Model], list[str]]
Normal = Callable[..., np.ndarray]

AXIS = st.tuples(
    st.sampled_from([1, 2, 3, 5]), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2), st.integers(1, 2)
)


@given(rows=AXIS, columns=AXIS, horizontal_first=st.booleans(), rank=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_merged_kernel_computes_what_the_pair_did(
    build_graph: Build,
    rows: tuple[int, int, int, int, int],
    columns: tuple[int, int, int, int, int],
    horizontal_first: bool,
    rank: int,
) -> None:
    (kh, sh, top, bottom, dh), (kw, sw, left, right, dw) = rows, columns
    assume(kh > 1 and kw > 1)
    generator = np.random.default_rng(1)
    horizontal = f"pads = [0,{left},0,{right}], strides = [1,{sw}], dilations = [1,{dw}]"
    vertical = f"pads = [{top},0,{bottom},0], strides = [{sh},1], dilations = [{dh},1]"
    first, second = (horizontal, vertical) if horizontal_first else (vertical, horizontal)
    k1, k2 = ((1, kw), (kh, 1)) if horizontal_first else ((kh, 1), (1, kw))
    height, width = (11 + top + bottom - dh * (kh - 1) - 1) // sh + 1, (13 + left + right - dw * (kw - 1) - 1) // sw + 1
    assume(height > 0 and width > 0)
    model = build_graph(
        f"""g (float[1,1,11,13] x, float[{rank},1,{k1[0]},{k1[1]}] w1, float[4,{rank},{k2[0]},{k2[1]}] w2, float[4] b)
        => (float[1,4,{height},{width}] y) {{ t = Conv<{first}>(x, w1) y = Conv<{second}>(t, w2, b) }}""",
        w1=generator.standard_normal((rank, 1, *k1)).astype(np.float32),
        w2=generator.standard_normal((4, rank, *k2)).astype(np.float32),
        b=generator.standard_normal(4).astype(np.float32),
    )
    (report,) = run_rewrites(model, [MergePairs()])
    assert report.kept
    assert report.changed == 1
    assert [node.op_type for node in model.graph] == ["Conv"]


def _stem(channels: int, bias: str = "", between: str = "t = Conv<pads = [0,1,0,1]>(x, w1{bias})") -> str:
    return f"""g (float[1,{channels},8,9] x, float[2,{channels},1,3] w1, float[2] b1, float[4,2,3,1] w2)
    => (float[1,4,8,9] y) {{ {between.format(bias=bias)} y = Conv<pads = [1,0,1,0]>(t, w2) }}"""


def _weights(normal: Normal, channels: int) -> dict[str, np.ndarray]:
    return {"w1": normal(2, channels, 1, 3), "b1": normal(2), "w2": normal(4, 2, 3, 1)}


def test_details_give_the_price(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = build_graph(_stem(3), **_weights(normal, 3))
    report = apply(model, MergePairs())
    # 4 * 3 * 9 = 108 multiplications for each pixel against 2 * 9 + 4 * 6 = 42
    assert report.details == ("t/Conv and y/Conv: one kernel, 2.6 times the multiplications",)


def test_pair_is_merged_when_its_bias_is_zero(build_graph: Build, apply: Apply, normal: Normal) -> None:
    weights = {**_weights(normal, 3), "b1": np.zeros(2, np.float32)}
    assert apply(build_graph(_stem(3, ", b1"), **weights), MergePairs()).changed == 1


@pytest.mark.parametrize(
    "text",
    [
        _stem(3, ", b1"),  # the second convolution pads with zeros, not with the bias
        _stem(5),  # too many channels to be a stem
        _stem(3, between="r = Conv<pads = [0,1,0,1]>(x, w1) t = Relu(r)"),
    ],
)
def test_other_pairs_stay(build_graph: Build, apply: Apply, normal: Normal, text: str) -> None:
    model = build_graph(text, **_weights(normal, 5 if "[1,5,8" in text else 3))
    assert apply(model, MergePairs()).changed == 0


def test_large_kernel_stays_a_pair(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = build_graph(
        """g (float[1,3,16,16] x, float[2,3,1,7] w1, float[4,2,7,1] w2) => (float[1,4,10,10] y)
        { t = Conv(x, w1) y = Conv(t, w2) }""",
        w1=normal(2, 3, 1, 7),
        w2=normal(4, 2, 7, 1),
    )
    assert apply(model, MergePairs()).changed == 0
    assert apply(model, MergePairs(["y/Conv"])).changed == 1


def test_merged_kernel_is_the_product_of_the_factors(build_graph: Build, normal: Normal) -> None:
    weights = _weights(normal, 3)
    model = build_graph(_stem(3), **weights)
    MergePairs().apply(model)
    merged = constant_value(next(iter(model.graph)).inputs[1])
    assert merged is not None
    expected = np.einsum("orh,riw->oihw", weights["w2"][..., 0], weights["w1"][:, :, 0])
    np.testing.assert_allclose(merged, expected, rtol=1e-6)
    infer_shapes(model)
    assert evaluate(model, [{"x": normal(1, 3, 8, 9)}])[0]["y"].shape == (1, 4, 8, 9)


CHAIN = """g (float[1,6,8,9] x, float[4,6,3,3] w1, float[8,4,1,1] w2, float[8] b2, float[3,8,1,3] w3, float[5,3,3,1] w4)
=> (float[1,5,6,7] y) {
    t = Conv<pads = [1,1,1,1]>(x, w1)
    u = Conv(t, w2, b2)
    r = Relu(u)
    v = Conv(r, w3)
    y = Conv(v, w4)
}"""


def _chain(build_graph: Build, normal: Normal) -> ir.Model:
    shapes = {"w1": (4, 6, 3, 3), "w2": (8, 4, 1, 1), "b2": (8,), "w3": (3, 8, 1, 3), "w4": (5, 3, 3, 1)}
    return build_graph(CHAIN, **{name: normal(*shape) for name, shape in shapes.items()})


@pytest.mark.parametrize("names", [["u/Conv"], ["y/Conv"], ["y/Conv", "u/Conv"]])
def test_named_pairs_are_merged_whatever_their_size(
    build_graph: Build, apply: Apply, normal: Normal, names: list[str]
) -> None:
    model = _chain(build_graph, normal)
    assert [pair.name for pair in factor_pairs(model.graph)] == ["u/Conv", "y/Conv"]
    assert apply(model.clone(), MergePairs()).changed == 0  # neither is a stem
    report = apply(model, MergePairs(names))
    assert report.changed == len(names)
    assert sum(node.op_type == "Conv" for node in model.graph) == 4 - len(names)


def test_pairs_that_share_a_convolution_are_merged_one_after_the_other(
    build_graph: Build, apply: Apply, normal: Normal
) -> None:
    model = build_graph(
        """g (float[1,6,8,9] x, float[4,6,1,3] w1, float[4,4,3,1] w2, float[7,4,1,1] w3) => (float[1,7,8,9] y) {
            t = Conv<pads = [0,1,0,1]>(x, w1)
            u = Conv<pads = [1,0,1,0]>(t, w2)
            y = Conv(u, w3)
        }""",
        w1=normal(4, 6, 1, 3),
        w2=normal(4, 4, 3, 1),
        w3=normal(7, 4, 1, 1),
    )
    assert apply(model, MergePairs(["u/Conv", "y/Conv"])).changed == 2
    (node,) = model.graph
    assert static_shape(node.inputs[1]) == (7, 6, 3, 3)


@pytest.mark.parametrize("name", ["t/Conv", "nowhere"])
def test_a_name_that_is_no_pair_is_refused(build_graph: Build, normal: Normal, name: str) -> None:
    with pytest.raises(UsageError, match=f"No factor pair .* {name!r}.*u/Conv, y/Conv"):
        MergePairs([name]).apply(_chain(build_graph, normal))


def test_macs_of_a_pair_are_counted(build_graph: Build, normal: Normal) -> None:
    first, second = factor_pairs(_chain(build_graph, normal).graph)
    assert first.macs == 72 * (4 * 6 * 9 + 8 * 4)
    assert first.merged_macs == 72 * 8 * 6 * 9
    assert first.pixels == 72
    assert second.macs == 8 * 7 * 3 * 8 * 3 + 6 * 7 * 5 * 3 * 3
    assert second.merged_macs == 6 * 7 * 5 * 8 * 9
