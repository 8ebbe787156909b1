from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.graph import constant_value
from edgeconv.rewrite import NormaliseGates, RewriteReport

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Operators = Callable[[ir.Model], list[str]]
Normal = Callable[..., np.ndarray]

GATED = """g (float[1,6,5,7] x, float[{gate}] gate, float[4,6,3,3] w, float[4] b) => (float[1,4,5,7] y)
{{ p = Mul({operands}) y = Conv<pads = [1,1,1,1]>(p, w, b) }}"""


@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (6, 5, 7), (6, 1, 7), (1, 6, 5, 1)])
@pytest.mark.parametrize("operands", ["x, gate", "gate, x"])
def test_channel_maxima_become_one_and_the_gate_the_second_operand(
    build_graph: Build, apply: Apply, normal: Normal, shape: tuple[int, ...], operands: str
) -> None:
    gate = normal(*shape) * np.logspace(-3, 3, 6, dtype=np.float32).reshape(6, 1, 1)
    model = build_graph(
        GATED.format(gate=",".join(map(str, shape)), operands=operands), gate=gate, w=normal(4, 6, 3, 3), b=normal(4)
    )
    assert apply(model, NormaliseGates()).changed == 1
    mul = next(iter(model.graph))
    assert mul.inputs[0] is model.graph.inputs[0]
    stored = constant_value(mul.inputs[1])
    assert stored is not None
    assert stored.shape == (1, 6, *shape[-2:])
    np.testing.assert_array_equal(np.abs(stored).max((0, 2, 3)), np.ones(6))


def test_dead_channels_stay_zero(build_graph: Build, apply: Apply, normal: Normal) -> None:
    gate = normal(1, 6, 5, 7)
    gate[:, 2] = 0
    model = build_graph(GATED.format(gate="1,6,5,7", operands="x, gate"), gate=gate, w=normal(4, 6, 3, 3), b=normal(4))
    apply(model, NormaliseGates())
    stored = constant_value(next(iter(model.graph)).inputs[1])
    assert stored is not None
    assert not stored[:, 2].any()


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (6, 1, 1), (1, 1, 1, 1)])
def test_gate_that_is_the_same_everywhere_goes_into_the_convolution(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal, shape: tuple[int, ...]
) -> None:
    model = build_graph(
        GATED.format(gate=",".join(map(str, shape)), operands="x, gate"),
        gate=normal(*shape),
        w=normal(4, 6, 3, 3),
        b=normal(4),
    )
    assert apply(model, NormaliseGates()).changed == 1
    assert operators(model) == ["Conv"]


def test_normalised_gate_is_left_alone(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = build_graph(
        GATED.format(gate="1,6,5,7", operands="x, gate"), gate=normal(1, 6, 5, 7), w=normal(4, 6, 3, 3), b=normal(4)
    )
    assert apply(model, NormaliseGates()).changed == 1
    assert apply(model, NormaliseGates()).changed == 0


@pytest.mark.parametrize(
    "body",
    [
        "p = Mul(x, gate) r = Relu(p) y = Conv(r, w)",
        "p = Mul(x, gate) c = Conv(p, w) y = Add(c, p)",
        "p = Mul(x, gate) y = Conv<group = 6>(p, d)",
        "p = Mul(x, x) y = Conv(p, w)",
    ],
)
def test_product_that_a_plain_convolution_does_not_read_alone_is_left_alone(
    build_graph: Build, apply: Apply, normal: Normal, body: str
) -> None:
    model = build_graph(
        f"""g (float[1,6,5,7] x, float[1,6,5,7] gate, float[6,6,1,1] w, float[6,1,1,1] d) => (float[1,6,5,7] y)
        {{ {body} }}""",
        gate=normal(1, 6, 5, 7),
        w=normal(6, 6, 1, 1),
        d=normal(6, 1, 1, 1),
    )
    assert apply(model, NormaliseGates()).changed == 0
