from __future__ import annotations

import numpy as np


def test_gate_left_as_a_product_of_two_maps_is_one_constant(kit):
    for quantised in (False, True):
        graph = kit.Graph(quantised)
        x = graph.operand(kit.X((1, 4, 8, 6)), None)
        rows, columns = graph.constant(kit.normal(1, 4, 8, 1)), graph.constant(kit.normal(1, 4, 1, 6))
        (gate,) = graph.node("Mul", [rows, columns])
        (gate,) = graph.node("Relu", [gate])
        gate = graph.qdq(gate, (0.03, -128)) if quantised else gate
        (y,) = graph.node("Mul", [x, gate])
        y = graph.qdq(y, (0.05, 0)) if quantised else y
        assert kit.lower(graph.model([y], 18)).operators == {"MUL": 1}


def test_dequantised_constants_are_evaluated_in_order_where_an_expression_reads_them(kit):
    graph = kit.Graph(quantised=False)
    x = graph.operand(kit.X((2, 3)), None)
    (a,) = graph.node("Neg", [graph.constant(kit.normal(3))])
    b = graph.qdq(a, (0.05, 0))
    (c,) = graph.node("Exp", [b])
    (y,) = graph.node("Add", [x, c])
    model = graph.model([y], 18)
    feeds = {"x0": kit.normal(2, 3)}
    result = kit.lower(model)
    assert result.operators == {"ADD": 1}
    np.testing.assert_allclose(kit.run_tflite(result, feeds)[0], kit.run_onnx(model, feeds)[0], rtol=1e-6)


def test_constant_node_is_a_constant(kit):
    graph = kit.Graph(quantised=False)
    x = graph.operand(kit.X((2, 3)), None)
    (c,) = graph.node("Constant", [], value_floats=[1.0, 2.0, 3.0])
    (y,) = graph.node("Mul", [x, c])
    assert kit.lower(graph.model([y], 18)).operators == {"MUL": 1}
