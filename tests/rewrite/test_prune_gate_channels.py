from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.graph import constant_value, static_shape
from edgeconv.rewrite import PruneGateChannels, RewriteReport

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Normal = Callable[..., np.ndarray]

GATED = """g (float[1,3,8,6] x, float[24,3,3,3] w1, float[24] b1, float[1,24,{h},{w}] gate, float[5,24,1,1] w2)
=> (float[1,5,{h},{w}] y) {{ c = Conv<pads = [1,1,1,1]>(x, w1, b1) {body} p = Mul(a, gate) y = Conv(p, w2) }}"""


def _gate(normal: Normal, live: int, size: tuple[int, int] = (8, 6)) -> np.ndarray:
    gate = normal(1, 24, *size)
    gate[:, np.random.default_rng(0).permutation(24)[live:]] = 0
    return gate


def _graph(build: Build, normal: Normal, gate: np.ndarray, body: str = "a = Relu(c)") -> ir.Model:
    text = GATED.format(h=gate.shape[2], w=gate.shape[3], body=body)
    return build(text, w1=normal(24, 3, 3, 3), b1=normal(24), gate=gate, w2=normal(5, 24, 1, 1))


@pytest.mark.parametrize(("live", "kept"), [(24, 24), (17, 24), (16, 16), (9, 16), (8, 8), (3, 8), (0, 8)])
def test_kept_channels_are_the_live_ones_rounded_up_to_eight(
    build_graph: Build, apply: Apply, normal: Normal, live: int, kept: int
) -> None:
    model = _graph(build_graph, normal, _gate(normal, live))
    report = apply(model, PruneGateChannels())
    assert report.changed == (kept < 24)
    gated = next(node for node in model.graph if node.op_type == "Mul")
    assert static_shape(gated.outputs[0]) == (1, kept, 8, 6)
    stored = constant_value(gated.inputs[1])
    assert stored is not None
    assert (np.abs(stored).max((0, 2, 3)) > 0).sum() == live
    if report.changed:
        assert report.details == (f"p/Mul: 24 channels, {kept} kept",)


def test_multiple_is_a_choice(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = _graph(build_graph, normal, _gate(normal, 3))
    apply(model, PruneGateChannels(multiple=1))
    assert static_shape(next(node for node in model.graph if node.op_type == "Mul").outputs[0])[1] == 3


def test_channels_pass_through_pooling_and_elementwise_operators(
    build_graph: Build, apply: Apply, normal: Normal
) -> None:
    body = """l = LeakyRelu(c) m = MaxPool<kernel_shape = [2,2], strides = [2,2]>(l) s = Sigmoid(m)
    low = Constant<value = float {0.1}>() a = Clip(s, low)"""
    model = _graph(build_graph, normal, _gate(normal, 5, (4, 3)), body)
    assert apply(model, PruneGateChannels()).changed == 1


@pytest.mark.parametrize(
    "body",
    [
        "t = Relu(c) a = Softmax<axis = 1>(t)",  # mixes the channels
        "t = Exp(c) s = Relu(c) a = Add(t, s)",  # the convolution has two readers
        "t = Relu(c) a = BatchNormalization(t, b1, b1, b1, v)",  # has parameters for each channel
    ],
)
def test_nothing_is_pruned_when_more_than_the_gate_depends_on_the_channels(
    build_graph: Build, apply: Apply, normal: Normal, body: str
) -> None:
    text = GATED.format(h=8, w=6, body=body).replace("float[1,24,8,6] gate", "float[1,24,8,6] gate, float[24] v")
    model = build_graph(
        text,
        w1=normal(24, 3, 3, 3),
        b1=normal(24),
        gate=_gate(normal, 3),
        w2=normal(5, 24, 1, 1),
        v=np.ones(24, np.float32),
    )
    assert apply(model, PruneGateChannels()).changed == 0
