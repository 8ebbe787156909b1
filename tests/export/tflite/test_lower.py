from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from edgeconv.errors import UnsupportedOperatorError
from edgeconv.export.tflite import check_supported

SHAPE = (1, 4, 8, 8)


def _graph(kit, quantised=False):
    graph = kit.Graph(quantised)
    return graph, graph.operand(kit.X(SHAPE), None)


def _run_both(kit, model, low=-2, high=3):
    x = np.random.default_rng(0).uniform(low, high, SHAPE).astype(np.float32)
    return kit.run_onnx(model, {"x0": x}), kit.run_tflite(kit.lower(model), {"x0": x})


def test_every_unsupported_node_is_listed_with_operator_name_module_reason_and_advice(kit):
    graph, x = _graph(kit)
    (y,) = graph.node("Softsign", [x], name="encoder.0.act/Softsign")
    (y,) = graph.node("Relu", [y], name="encoder.0.relu/Relu")
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    (y,) = graph.node("Resize", [y, "", scales], name="decoder.up/Resize", mode="cubic")
    (y,) = graph.node("Mish", [y], name="head/Mish")
    model = ir.from_proto(graph.model([y], 18))
    for node in model.graph:
        if node.op_type == "Mish":
            node.metadata_props["edgeconv.module"] = "head.activation"
    with pytest.raises(UnsupportedOperatorError) as error:
        check_supported(model)
    message = str(error.value)
    assert message.startswith("3 nodes")
    assert "Softsign (node 'encoder.0.act/Softsign' in module 'encoder.0.act')" in message
    assert "Resize (node 'decoder.up/Resize' in module 'decoder.up'): its mode is cubic. Use bilinear" in message
    assert "Mish (node 'head/Mish' in module 'head.activation')" in message
    assert "Relu" not in message


def test_unsupported_nodes_are_listed_when_their_shapes_are_unknown(kit):
    graph, x = _graph(kit)
    graph.nodes.append(helper.make_node("Strange", [x], ["a"], name="one/Strange", domain="my.domain"))
    (b,) = graph.node("Relu", ["a"], name="two/Relu")
    (c,) = graph.node("Mish", [b], name="three/Mish")
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "g", graph.inputs, [onnx.ValueInfoProto(name=c)]),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("my.domain", 1)],
    )
    with pytest.raises(UnsupportedOperatorError) as error:
        check_supported(ir.from_proto(proto))
    assert "my.domain::Strange (node 'one/Strange'" in str(error.value)
    assert "three/Mish" in str(error.value)


def test_supported_graph_passes_the_check(kit):
    model, _ = kit.make("Relu", [kit.X(SHAPE)])
    check_supported(ir.from_proto(model))


def test_node_that_no_output_depends_on_is_ignored(kit):
    graph, x = _graph(kit)
    graph.node("Mish", [x])
    (y,) = graph.node("Relu", [x])
    assert kit.lower(graph.model([y], 18)).operators == {"RELU": 1}


def test_outputs_may_be_inputs_constants_or_the_same_value(kit):
    graph, x = _graph(kit)
    (same,) = graph.node("Identity", [x])
    (y,) = graph.node("Relu", [x])
    (again,) = graph.node("Identity", [y])
    (fixed,) = graph.node("Identity", [graph.constant(kit.normal(1, 3, 2, 2))])
    model = graph.model([same, y, again, fixed], 18)
    for expected, actual in zip(*_run_both(kit, model), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_value_read_in_float_and_in_int8_is_quantised_beside_the_float_operator(kit):
    graph, x = _graph(kit, quantised=True)
    (y,) = graph.node("Relu", [x])
    quantised = graph.qdq(y, (0.02, -128))
    result = kit.lower(graph.model([y, quantised], 18))
    assert result.operators == {"DEQUANTIZE": 1, "QUANTIZE": 1, "RELU": 1}
    assert [port.dtype for port in result.outputs] == ["float32", "int8"]


def test_value_with_two_quantisers_is_rounded_to_each_of_them_once(kit):
    graph, x = _graph(kit, quantised=True)
    (y,) = graph.node("Relu", [x])
    model = graph.model([graph.qdq(y, (0.02, -128)), graph.qdq(y, (0.011, -128))], 18)
    (_, _, (scale, zero)) = graph.ports[0]
    integers = np.random.default_rng(0).integers(-128, 128, SHAPE).astype(np.int8)
    result = kit.lower(model)
    expected = kit.run_onnx(model, {"x0": ((integers - np.float32(zero)) * np.float32(scale)).astype(np.float32)})
    for port, wanted, actual in zip(result.outputs, expected, kit.run_tflite(result, {"x0": integers}), strict=True):
        np.testing.assert_array_equal(actual, np.rint(wanted / np.float32(port.scale)) + port.zero_point)


def test_requantised_value_is_one_quantize(kit):
    graph, x = _graph(kit, quantised=True)
    result = kit.lower(graph.model([graph.qdq(x, (0.05, 3))], 18))
    assert result.operators == {"QUANTIZE": 1}


def test_quantiser_that_tflite_lacks_is_refused_with_the_node(kit):
    graph, x = _graph(kit)
    scale, zero = graph.constant(np.ones(4, np.float32)), graph.constant(np.zeros(4, np.int8))
    (q,) = graph.node("QuantizeLinear", [x, scale, zero], axis=1, name="act/QuantizeLinear")
    (y,) = graph.node("DequantizeLinear", [q, scale, zero], axis=1)
    with pytest.raises(UnsupportedOperatorError, match="act/QuantizeLinear"):
        kit.lower(graph.model([y], 18))


def test_weights_only_quantised_stay_in_float(kit):
    graph, x = _graph(kit)
    weights = graph.dequantised(np.ones((2, 4, 1, 1), np.int8), np.float32([0.5, 0.25]), np.zeros(2, np.int8))
    (y,) = graph.node("Conv", [x, weights])
    model = graph.model([y], 18)
    assert kit.lower(model).operators == {"CONV_2D": 1}
    (expected,), (actual,) = _run_both(kit, model)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_asymmetric_weights_run_in_float(kit):
    graph, x = _graph(kit, quantised=True)
    weights = graph.dequantised(np.ones((2, 4, 1, 1), np.int8), np.float32(0.5), np.int8(3))
    (y,) = graph.node("Conv", [x, weights])
    result = kit.lower(graph.model([graph.qdq(y, (0.1, 0))], 18))
    assert result.operators == {"CONV_2D": 1, "DEQUANTIZE": 1, "QUANTIZE": 1}


def test_pixel_shuffle_costs_no_gather_behind_a_convolution(kit):
    for quantised in (False, True):
        graph, x = _graph(kit, quantised)
        (y,) = graph.node(
            "Conv", [x, graph.operand(kit.W(kit.normal(8, 4, 1, 1)), None), graph.operand(kit.B(kit.normal(8)), None)]
        )
        (y,) = graph.node("Relu", [y])
        y = graph.qdq(y, (0.05, -128)) if quantised else y
        (y,) = graph.node("DepthToSpace", [y], blocksize=2, mode="CRD")
        y = graph.qdq(y, (0.05, -128)) if quantised else y
        model = graph.model([y], 18)
        result = kit.lower(model)
        operators = {kind: count for kind, count in result.operators.items() if kind != "RESHAPE"}
        assert operators == {"CONV_2D": 1, "DEPTH_TO_SPACE": 1}
        if not quantised:
            (expected,), (actual,) = _run_both(kit, model)
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_pixel_shuffle_gathers_when_its_input_has_another_reader(kit):
    graph, x = _graph(kit)
    (y,) = graph.node("Conv", [x, graph.constant(kit.normal(8, 4, 1, 1))])
    (z,) = graph.node("DepthToSpace", [y], blocksize=2, mode="CRD")
    model = graph.model([y, z], 18)
    assert "GATHER" in kit.lower(model).operators
    for expected, actual in zip(*_run_both(kit, model), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
