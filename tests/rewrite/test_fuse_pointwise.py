from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.rewrite import FusePointwise, RewriteReport

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Operators = Callable[[ir.Model], list[str]]
Normal = Callable[..., np.ndarray]


def _pair(build: Build, normal: Normal, a: int, b: int, c: int) -> ir.Model:
    return build(
        f"""g (float[1,{a},5,7] x, float[{b},{a},1,1] w1, float[{b}] b1, float[{c},{b},1,1] w2, float[{c}] b2)
        => (float[1,{c},5,7] y) {{ t = Conv(x, w1, b1) y = Conv(t, w2, b2) }}""",
        w1=normal(b, a, 1, 1),
        b1=normal(b),
        w2=normal(c, b, 1, 1),
        b2=normal(c),
    )


@pytest.mark.parametrize(("a", "b", "c"), [(8, 8, 16), (8, 8, 1), (6, 3, 6), (4, 2, 4)])
def test_pair_becomes_one_when_that_needs_no_more_multiplications(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal, a: int, b: int, c: int
) -> None:
    model = _pair(build_graph, normal, a, b, c)
    fewer = a * c <= a * b + b * c
    assert apply(model, FusePointwise()).changed == fewer
    assert operators(model) == ["Conv"] * (1 if fewer else 2)


def test_low_rank_pair_stays(build_graph: Build, apply: Apply, normal: Normal) -> None:
    assert apply(_pair(build_graph, normal, 16, 4, 16), FusePointwise()).changed == 0


def test_chain_becomes_one(build_graph: Build, apply: Apply, operators: Operators, normal: Normal) -> None:
    model = build_graph(
        """g (float[1,4,5,7] x, float[4,4,1,1] a, float[4,4,1,1] b, float[4,4,1,1] c, float[4] d) => (float[1,4,3,4] y)
        { t = Conv(x, a, d) u = Conv(t, b, d) y = Conv<strides = [2,2]>(u, c) }""",
        a=normal(4, 4, 1, 1),
        b=normal(4, 4, 1, 1),
        c=normal(4, 4, 1, 1),
        d=normal(4),
    )
    assert apply(model, FusePointwise()).changed == 2
    assert operators(model) == ["Conv"]


def test_stride_counts_when_multiplications_are_compared(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = build_graph(
        """g (float[1,2,8,8] x, float[1,2,1,1] a, float[9,1,1,1] b) => (float[1,9,4,4] y)
        { t = Conv(x, a) y = Conv<strides = [2,2]>(t, b) }""",
        a=normal(1, 2, 1, 1),
        b=normal(9, 1, 1, 1),
    )
    # 64 * 2 + 16 * 9 = 272 before, 16 * 18 = 288 after
    assert apply(model, FusePointwise()).changed == 0


@pytest.mark.parametrize(
    ("size", "body"),
    [
        ("5,7", "t = Conv(x, a, d) r = Relu(t) y = Conv(r, a)"),
        ("5,7", "t = Conv(x, a, d) u = Conv(t, a) y = Add(t, u)"),
        ("5,7", "t = Conv(x, a, d) y = Conv<group = 4>(t, g1)"),
        ("7,9", "t = Conv<pads = [1,1,1,1]>(x, a, d) y = Conv(t, a)"),
        ("3,4", "t = Conv<strides = [2,2]>(x, a, d) y = Conv(t, a)"),
    ],
)
def test_what_is_no_plain_pair_stays(build_graph: Build, apply: Apply, normal: Normal, size: str, body: str) -> None:
    model = build_graph(
        f"g (float[1,4,5,7] x, float[4,4,1,1] a, float[4] d, float[4,1,1,1] g1) => (float[1,4,{size}] y) {{ {body} }}",
        a=normal(4, 4, 1, 1),
        d=normal(4),
        g1=normal(4, 1, 1, 1),
    )
    assert apply(model, FusePointwise()).changed == 0
