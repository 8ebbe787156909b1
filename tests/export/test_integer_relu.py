"""ReLU as a maximum with the zero point: the same values, integer convolutions in ONNX Runtime, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.executor import open_session
from edgeconv.export.integer_relu import join_relus, relus_on_integers
from edgeconv.export.quantize import quantize
from edgeconv.export.twins import to_uint8
from edgeconv.graph import to_bytes
from edgeconv.parity.locate.layers import graph_layers

Build = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Made = tuple[ir.Model, dict[str, np.ndarray]]


@pytest.fixture
def skip(build_graph: Build) -> Made:
    """A Q/DQ graph with a ReLU whose output is concatenated with negative values, and one whose output is not."""
    rng = np.random.default_rng(2)
    weights = {name: rng.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32) for name in ("w1", "w2", "w3")}
    model = build_graph(
        """g (float[1,4,8,8] x, float[4,4,3,3] w1, float[4,4,3,3] w2, float[4,4,3,3] w3) => (float[1,8,8,8] y) {
        a = Conv<pads = [1,1,1,1]>(x, w1) b = Relu(a) c = Conv<pads = [1,1,1,1]>(b, w2) d = Relu(c)
        e = Conv<pads = [1,1,1,1]>(d, w3) y = Concat<axis = 1>(d, e) }""",
        **weights,
    )
    samples = [{"x": rng.normal(0, 1, (1, 4, 8, 8)).astype(np.float32)} for _ in range(2)]
    return quantize(model, collect_statistics(model, samples), samples).model, samples[0]


def _run(model: ir.Model, sample: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(open_session(model, optimise=False).run(None, sample)[0])


@pytest.mark.parametrize("twin", [ir.Model.clone, to_uint8])
def test_the_same_values(skip: Made, twin: Callable[[ir.Model], ir.Model]) -> None:
    model, sample = skip
    changed = twin(model)
    assert relus_on_integers(changed) == 1
    onnx.checker.check_model(onnx.load_from_string(to_bytes(changed)), full_check=True)
    np.testing.assert_array_equal(_run(changed, sample), _run(twin(model), sample))


def test_onnx_runtime_then_computes_every_convolution_on_integers(skip: Made, optimised: Count) -> None:
    model = to_uint8(skip[0])
    assert optimised(model)["QLinearConv"] == 2
    relus_on_integers(model)
    after = optimised(model)
    assert after["QLinearConv"] == 3
    assert not after["Conv"] + after["FusedConv"]


def test_joined_again_it_is_the_graph_that_it_was(skip: Made) -> None:
    model, sample = skip
    changed = model.clone()
    relus_on_integers(changed)
    joined = join_relus(ir.from_proto(ir.to_proto(changed)))
    assert [(x.name, x.operator, x.shape, x.grid) for x in graph_layers(joined)] == [
        (x.name, x.operator, x.shape, x.grid) for x in graph_layers(model)
    ]
    np.testing.assert_array_equal(_run(joined, sample), _run(model, sample))


def test_a_mark_on_something_else_is_refused(skip: Made) -> None:
    next(node for node in skip[0].graph if node.op_type == "Concat").metadata_props["relu.tensor"] = "x"
    with pytest.raises(ExportError, match="marked as a ReLU on integers"):
        join_relus(skip[0])
