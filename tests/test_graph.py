from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.graph import (
    MODULE_KEY,
    constant_value,
    describe,
    infer_shapes,
    load_graph,
    non_finite_constants,
    only_reader,
    readers,
    save_graph,
    static_shape,
    to_bytes,
    unique_name,
)

Build = Callable[..., ir.Model]

TEXT = """g (float[1,3] x, float[3,2] w) => (float[1,2] y, float[1,2] z)
{ k = Constant<value = float {3}>() m = MatMul(x, w) y = Mul(m, k) z = Relu(y) }"""


@pytest.fixture
def model(build_graph: Build) -> ir.Model:
    return build_graph(TEXT, w=np.ones((3, 2), np.float32))


def test_constants_of_both_kinds_are_read_and_computed_values_are_not(model: ir.Model) -> None:
    constant, product, *_ = model.graph
    assert constant_value(constant.outputs[0]) == 3
    np.testing.assert_array_equal(constant_value(product.inputs[1]), np.ones((3, 2)))
    assert constant_value(product.outputs[0]) is None
    assert constant_value(model.graph.inputs[0]) is None
    assert constant_value(None) is None


def test_graph_output_has_no_only_reader(model: ir.Model) -> None:
    _, product, scaled, rectified = model.graph
    assert only_reader(product.outputs[0]) is scaled
    assert readers(scaled.outputs[0]) == (rectified,)
    assert only_reader(scaled.outputs[0]) is None
    assert only_reader(rectified.outputs[0]) is None


def test_description_names_node_operator_and_module(model: ir.Model) -> None:
    node = list(model.graph)[1]
    assert describe(node) == "node 'm/MatMul' (MatMul)"
    node.metadata_props[MODULE_KEY] = "head"
    assert describe(node) == "node 'm/MatMul' (MatMul of module head)"


def test_written_graph_is_read_back(model: ir.Model, tmp_path: Path) -> None:
    save_graph(model, tmp_path / "model.onnx")
    assert to_bytes(load_graph(tmp_path / "model.onnx")) == to_bytes(model)


def test_shapes_are_inferred_anew_and_the_model_kept_when_they_do_not_fit(model: ir.Model) -> None:
    model.graph.inputs[0].shape = ir.Shape([5, 3])
    infer_shapes(model)
    assert [static_shape(value) for value in model.graph.outputs] == [(5, 2), (5, 2)]
    before = to_bytes(model)
    model.graph.inputs[0].shape = ir.Shape([5, 4])
    with pytest.raises(ExportError, match="do not fit together"):
        infer_shapes(model)
    model.graph.inputs[0].shape = ir.Shape([5, 3])
    assert to_bytes(model) == before


def test_dynamic_shape_is_an_error_with_the_node(model: ir.Model) -> None:
    node = list(model.graph)[1]
    node.outputs[0].shape = ir.Shape(["n", 2])
    with pytest.raises(ExportError, match="'m' of node 'm/MatMul'"):
        static_shape(node.outputs[0])


@pytest.mark.parametrize(
    ("value", "broken"),
    [([1.0, np.nan], True), ([1.0, np.inf], True), ([1.0, -np.inf], False), ([np.inf], False), ([np.nan], True)],
)
def test_constants_that_are_not_finite_are_found(build_graph: Build, value: list[float], broken: bool) -> None:
    model = build_graph(
        f"g (float[2] x, float[{len(value)}] w) => (float[2] y) {{ y = Max(x, w) }}", w=np.float32(value)
    )
    assert non_finite_constants(model) == (["w"] if broken else [])


def test_taken_names_are_numbered() -> None:
    taken = {"a"}
    assert [unique_name("a", taken), unique_name("a", taken), unique_name("b", taken)] == ["a_1", "a_2", "b"]
