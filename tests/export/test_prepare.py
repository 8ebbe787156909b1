from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.prepare import PreparedGraph, adapt_graph, prepare_graph
from edgeconv.graph import to_bytes
from edgeconv.rewrite._evaluate import evaluate

NETWORK = """g (float[1,8,12,16] x, float[4,8,1,3] w1, float[8,4,3,1] w2, float[4,8,1,3] w3, float[8,4,3,1] w4)
=> (float[1,8,12,16] y) {
    p = Conv<pads = [0,1,0,1]>(x, w1)
    q = Conv<pads = [1,0,1,0]>(p, w2)
    r = Relu(q)
    t = Conv<pads = [0,1,0,1]>(r, w3)
    y = Conv<pads = [1,0,1,0]>(t, w4)
}"""


def _samples() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [{"x": generator.normal(size=(1, 8, 12, 16)).astype(np.float32)} for _ in range(3)]


@pytest.fixture
def prepared(build_graph: Callable[..., ir.Model]) -> PreparedGraph:
    generator = np.random.default_rng(0)
    shapes = {"w1": (4, 8, 1, 3), "w2": (8, 4, 3, 1), "w3": (4, 8, 1, 3), "w4": (8, 4, 3, 1)}
    arrays = {name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return prepare_graph(build_graph(NETWORK, **arrays), _samples(), lambda name: contextlib.nullcontext())


def _adapt(prepared: PreparedGraph, choices: Choices) -> ir.Model:
    return adapt_graph(prepared, lambda: iter(_samples()), choices).model


@pytest.mark.parametrize("pairs", [(), ("q/Conv",), ("y/Conv",), ("q/Conv", "y/Conv")])
@pytest.mark.parametrize("balancing", [True, False])
def test_named_pairs_are_merged_and_the_function_stays(
    prepared: PreparedGraph, pairs: tuple[str, ...], balancing: bool
) -> None:
    before = to_bytes(prepared.model)
    model = _adapt(prepared, Choices(merged_pairs=pairs, balancing=balancing))
    assert to_bytes(prepared.model) == before  # it serves the next choices
    assert sum(node.op_type == "Conv" for node in model.graph) == 4 - len(pairs)
    assert {node.name for node in model.graph} >= {"q/Conv", "y/Conv"}
    for old, new in zip(evaluate(prepared.model, _samples()), evaluate(model, _samples()), strict=True):
        np.testing.assert_allclose(new["y"], old["y"], atol=1e-4)


def test_same_choices_give_the_same_graph(prepared: PreparedGraph) -> None:
    choices = Choices(merged_pairs=("y/Conv",), equalisation=0.25)
    assert to_bytes(_adapt(prepared, choices)) == to_bytes(_adapt(prepared, choices))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (Choices(merged_pairs=("elsewhere/Conv",)), "No factor pair .* 'elsewhere/Conv'"),
        (Choices(merged_pairs=("p/Conv",)), "No factor pair .* 'p/Conv'"),  # the first of its pair, not the second
        (Choices(float_nodes=("elsewhere/Conv",)), "no operator 'elsewhere/Conv'"),
        (Choices(tensor_ranges={"elsewhere": (0.0, 1.0)}), "no tensor 'elsewhere'"),
    ],
)
def test_names_of_another_graph_are_refused(prepared: PreparedGraph, choices: Choices, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _adapt(prepared, choices)
