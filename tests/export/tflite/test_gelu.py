from __future__ import annotations

import math

import numpy as np
import pytest


def _gelu(kit, inner, order, quantised=False):
    graph = kit.Graph(quantised)
    x = graph.operand(kit.X((1, 4, 8, 8), -4, 4), None)
    factor = math.sqrt(2) if inner == "Div" else math.sqrt(0.5)
    (u,) = graph.node(inner, [x, graph.constant(np.float32(factor))])
    (u,) = graph.node("Erf", [u])
    (u,) = graph.node("Add", [u, graph.constant(np.float32(1))])
    half = graph.constant(np.float32(0.5))
    if order == "x first":
        (u,) = graph.node("Mul", [x, u])
        (u,) = graph.node("Mul", [u, half])
    elif order == "half first":
        (u,) = graph.node("Mul", [half, u])
        (u,) = graph.node("Mul", [u, x])
    else:
        (h,) = graph.node("Mul", [x, half])
        (u,) = graph.node("Mul", [h, u])
    u = graph.qdq(u, kit.quantiser_of(-0.2, 4)) if quantised else u
    return graph.model([u], 18)


@pytest.mark.parametrize("inner", ["Div", "Mul"])
@pytest.mark.parametrize("order", ["x first", "half first", "half of x"])
def test_gelu_written_with_erf_is_one_operator(kit, inner, order):
    model = _gelu(kit, inner, order)
    result = kit.lower(model)
    assert result.operators == {"GELU": 1}
    x = np.random.default_rng(0).uniform(-4, 4, (1, 4, 8, 8)).astype(np.float32)
    assert kit.sqnr_db(kit.run_onnx(model, {"x0": x})[0], kit.run_tflite(result, {"x0": x})[0]) > 100


def test_gelu_written_with_erf_runs_in_int8_when_no_quantiser_is_in_between(kit):
    assert kit.lower(_gelu(kit, "Div", "x first", quantised=True)).operators == {"GELU": 1}


def test_erf_of_something_else_is_no_gelu(kit):
    graph = kit.Graph(quantised=False)
    x = graph.operand(kit.X((1, 8)), None)
    (u,) = graph.node("Erf", [x])
    (u,) = graph.node("Add", [u, graph.constant(np.float32(1))])
    (u,) = graph.node("Mul", [x, u])
    assert "GELU" not in kit.lower(graph.model([u], 18)).operators
