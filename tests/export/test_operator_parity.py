from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import edgeconv.export.onnxruntime as converter
from edgeconv.export.operator_parity import check_operators
from edgeconv.graph import constant_value, infer_shapes, load_graph

RUNTIMES = ("onnxruntime", "litert", "openvino")


@pytest.fixture(scope="module")
def samples(raw_images):
    return [{"x": image.astype(np.float32) / 255} for image in raw_images[:2]]


@pytest.fixture
def graph(tiny):
    model = load_graph(tiny.directory / "model.int8.onnx")
    infer_shapes(model)
    return model


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_every_operator_is_within_one_step_in_every_runtime(activations, graph, samples):
    rows = check_operators(graph, samples, activations=activations)
    assert {row.runtime for row in rows} == set(RUNTIMES)
    for runtime in RUNTIMES:
        assert [row.operator for row in rows if row.runtime == runtime] == ["QuantizeLinear", "Conv", "Conv"]
    for row in rows:
        assert row.passed, row
        assert row.differing < 0.02, row


def test_an_operator_with_other_weights_is_found(graph, samples, monkeypatch):
    """The check itself: a converter that changes the second convolution is caught there and nowhere else."""

    def spoil(job):
        model = ir.load(job.source)
        for value in model.graph.initializers.values():
            if value.name == "w2_q":
                changed = constant_value(value).copy()
                changed[0, 0] += 9
                value.const_value = ir.tensor(changed, name=value.name)
        ir.save(model, job.source)
        return whole(job)

    whole = converter.convert
    monkeypatch.setattr(converter, "convert", spoil)
    rows = check_operators(graph, samples, ["onnxruntime"])
    assert [row.passed for row in rows] == [True, True, False]
    assert rows[-1].name == "second/Conv"
    assert rows[-1].max_steps > 1
