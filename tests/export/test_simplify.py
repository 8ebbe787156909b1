from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.simplify import simplify
from edgeconv.graph import MODULE_KEY, static_shape
from edgeconv.rewrite._evaluate import evaluate

Build = Callable[..., ir.Model]


def _with_modules(model: ir.Model) -> ir.Model:
    for node in model.graph:
        node.metadata_props[MODULE_KEY] = f"module.{node.outputs[0].name}"
        node.name = f"module.{node.outputs[0].name}/{node.op_type}"
    return model


def test_names_and_modules_survive_fusions(build_graph: Build) -> None:
    model = _with_modules(
        build_graph(
            """g (float[1,3,4,5] x, float[2,3,1,1] w, float[2] s, float[2] v) => (float[1,2,4,5] y) {
                c = Conv(x, w) n = BatchNormalization(c, s, s, s, v) k = Constant<value = float {2}>()
                m = Mul(n, k) i = Identity(m) r = Relu(i) y = Transpose<perm = [0,1,2,3]>(r)
            }""",
            w=np.ones((2, 3, 1, 1), np.float32),
            s=np.ones(2, np.float32),
            v=np.ones(2, np.float32),
        )
    )
    before = [node.name for node in model.graph]
    simplified = simplify(model)
    assert [node.name for node in model.graph] == before
    assert [value.name for value in simplified.graph.outputs] == ["y"]
    assert "Constant" not in [node.op_type for node in simplified.graph]
    for node in simplified.graph:
        assert node.metadata_props[MODULE_KEY].startswith("module.")
        assert node.name
        assert all(static_shape(output) == (1, 2, 4, 5) for output in node.outputs)
    x = np.random.default_rng(0).random((1, 3, 4, 5), np.float32)
    old, new = (evaluate(graph, [{"x": x}])[0]["y"] for graph in (model, simplified))
    np.testing.assert_allclose(new, old, rtol=1e-5)


def test_epsilon_survives(build_graph: Build) -> None:
    model = build_graph(
        """g (float[1,4] x) => (float[1,4] y)
        { e = Constant<value = float {1e-16}>() r = Relu(x) a = Add(r, e) y = Div(r, a) }"""
    )
    result = evaluate(simplify(model), [{"x": np.zeros((1, 4), np.float32)}])[0]["y"]
    np.testing.assert_array_equal(result, np.zeros((1, 4)))


def test_constant_that_is_no_number_is_refused(build_graph: Build) -> None:
    model = build_graph(
        """g (float[1,4] x) => (float[1,4] y)
        { z = Constant<value = float[4] {0,0,1,1}>() c = Div(z, z) y = Mul(x, c) }"""
    )
    with pytest.raises(ExportError, match="not finite: c"):
        simplify(model)


def test_unread_input_stays_a_port(build_graph: Build) -> None:
    model = build_graph("g (float[1,4] x, float[2] unread) => (float[1,4] y) { y = Relu(x) }")
    assert [value.name for value in simplify(model).graph.inputs] == ["x", "unread"]


def test_shape_that_depends_on_the_data_is_refused_with_its_node(build_graph: Build) -> None:
    model = build_graph(
        """g (float[1,4] x) => (int64[2,k] y) { y = NonZero(x) }""",
    )
    with pytest.raises(ExportError, match=r"'y' of node 'y/NonZero' \(NonZero\) has no static shape"):
        simplify(model)


def test_operator_that_is_unknown_is_an_error(build_graph: Build) -> None:
    model = build_graph("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    next(iter(model.graph)).op_type = "NoSuchOperator"
    with pytest.raises(ExportError):
        simplify(model)
