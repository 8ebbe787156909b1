from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.choices import Choices
from edgeconv.export.data import Sample, SampleSource, input_ports
from edgeconv.export.graphs import Graphs, Improve, make_graphs
from edgeconv.export.quantize import validate_qdq
from edgeconv.export.subject import Subject
from edgeconv.graph import to_bytes

SHAPE = (1, 3, 16, 20)
NETWORK = """g (float[1,3,16,20] x, float[8,3,3,3] w0, float[4,8,1,3] w1, float[8,4,3,1] w2, float[2,8,1,1] w3)
=> (float[1,2,16,20] y) {
    a = Conv<pads = [1,1,1,1]>(x, w0)
    b = Relu(a)
    p = Conv<pads = [0,1,0,1]>(b, w1)
    q = Conv<pads = [1,0,1,0]>(p, w2)
    r = Relu(q)
    y = Conv(r, w3)
}"""
Make = Callable[..., Graphs]


def _samples() -> Iterator[Sample]:
    generator = np.random.default_rng(2)
    return ({"x": generator.integers(0, 256, SHAPE, np.uint8)} for _ in range(6))


@pytest.fixture
def make(build_graph: Callable[..., ir.Model]) -> Make:
    generator = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 3, 3), "w1": (4, 8, 1, 3), "w2": (8, 4, 3, 1), "w3": (2, 8, 1, 1)}
    arrays = {name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    source = SampleSource("six images", _samples)

    def run(choices: Choices | None = None, improve: Improve | None = None) -> Graphs:
        subject = Subject(
            "net",
            "net.onnx",
            None,
            0,
            {"x": SHAPE},
            source.take(2),
            source,
            None,
            lambda: build_graph(NETWORK, **arrays),
            lambda inputs: [],
        )
        ports = input_ports(subject.golden, subject.shapes, None, None)
        schemes = ["asymmetric", "symmetric", "symmetric-outputs"]
        return make_graphs(
            subject.trace(), subject, ports, schemes, lambda name: contextlib.nullcontext(), choices, improve
        )

    return run


def _bytes(graphs: Graphs) -> dict[str, bytes]:
    return {name: to_bytes(result.model) for name, result in graphs.int8.items()}


@pytest.mark.parametrize(
    "choices",
    [
        Choices(ranges="entropy"),
        Choices(tensor_ranges={"b": (0.0, 2.0), "y": (-3.0, 3.0)}),
        Choices(balancing=False, equalisation=0.25),
        Choices(merged_pairs=("q/Conv",)),
        Choices(float_nodes=("y/Conv",)),
    ],
)
def test_every_choice_serves_every_scheme(make: Make, choices: Choices) -> None:
    graphs = make(choices)
    assert graphs.no_int8 == {}
    assert graphs.choices == choices
    for name, result in graphs.int8.items():
        validate_qdq(result.model, symmetric=name != "asymmetric")
    assert _bytes(make(choices)) == _bytes(graphs)


def test_chosen_range_is_the_grid(make: Make) -> None:
    graphs = make(Choices(tensor_ranges={"b": (0.0, 2.0)}))
    for scheme, steps in (("asymmetric", 255), ("symmetric", 127), ("symmetric-outputs", 127)):
        (record,) = (record for record in graphs.int8[scheme].recipe.tensors if record.name == "b")
        assert record.scale == pytest.approx(2 / steps)
        assert record.source == "given"
        assert "percentile" in {record.source for record in graphs.int8[scheme].recipe.tensors}


def test_search_without_a_result_leaves_every_byte(make: Make) -> None:
    plain = make()
    searched = make(improve=lambda prepared, start: (start, None))
    assert _bytes(searched) == _bytes(plain)
    assert to_bytes(searched.fp32) == to_bytes(plain.fp32)
    assert searched.choices == plain.choices == Choices()


def test_what_a_search_finds_is_what_is_made(make: Make) -> None:
    better = Choices(merged_pairs=("q/Conv",), ranges="minmax")
    searched = make(improve=lambda prepared, start: (better, None))
    assert searched.choices == better
    assert _bytes(searched) == _bytes(make(better))
