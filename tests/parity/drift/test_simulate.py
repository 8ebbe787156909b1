"""A layer is made bad on purpose, and exactly that layer has to lead the ranking, with the part that was made bad."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import QuantisationScheme, quantize
from edgeconv.export.quantize.units import integer_constant
from edgeconv.export.reference import run_reference
from edgeconv.export.twins import to_uint8
from edgeconv.graph import constant_value
from edgeconv.parity.drift.simulate import simulate
from edgeconv.parity.drift.switches import SwitchedGraph

GRAPH = """g (float[1,3,16,16] x, float[8,3,3,3] w1, float[8,8,3,3] w2, float[8] b2, float[1,8,16,16] k,
           float[8,8,1,1] w3, float[2,16,1,1] w4) => (float[1,2,8,8] y) {
    c1 = Conv<pads=[1,1,1,1]>(x, w1)  r1 = Relu(c1)
    c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)  r2 = Relu(c2)
    m = Mul(r2, k)  c3 = Conv(m, w3)
    e = Concat<axis=1>(c3, r1)  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)
    y = Conv(p, w4)
}"""


def samples(count: int = 3) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(7)
    return [{"x": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(count)]


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (8, 8, 1, 1), "w4": (2, 16, 1, 1)}
    made = {n: (rng.normal(size=s) / np.sqrt(np.prod(s[1:]))).astype(np.float32) for n, s in shapes.items()}
    return {**made, "k": rng.uniform(0.2, 1, size=(1, 8, 16, 16)).astype(np.float32)}


@pytest.fixture(params=["asymmetric", "symmetric", "symmetric-outputs"])
def scheme(request: pytest.FixtureRequest) -> QuantisationScheme:
    return QuantisationScheme(request.param)


@pytest.fixture
def make(build_graph: Callable[..., ir.Model]) -> Callable[..., tuple[ir.Model, ir.Model]]:
    def made(scheme: QuantisationScheme | None = None, **other: np.ndarray) -> tuple[ir.Model, ir.Model]:
        fp32 = build_graph(GRAPH, **{**weights(), **other})
        return fp32, quantize(fp32, collect_statistics(fp32, samples()), samples(), scheme=scheme).model

    return made


def ranked(fp32: ir.Model, qdq: ir.Model) -> list[tuple[str, float | None, float | None]]:
    """Layer and what its weights and its activations do to the output, worst layer first."""
    graph = SwitchedGraph(fp32, qdq)
    _, found = simulate(graph, samples(2), lambda done, total, what: None)
    rows = sorted(zip(graph.layers, found, strict=True), key=lambda row: -row[1].output_noise)
    return [(e.layer.name, s.at_output.weights_db, s.at_output.activations_db) for e, s in rows]


def test_all_switches_off_is_the_fp32_graph_and_all_on_the_int8_one(make, scheme) -> None:
    fp32, qdq = make(scheme)
    graph, feeds = SwitchedGraph(fp32, qdq), samples(1)[0]
    every = {switch for layer in graph.layers for switch in layer.switches}
    assert np.array_equal(graph.run(feeds, (), ["y"])["y"], run_reference(fp32, feeds)["y"])
    assert np.array_equal(graph.run(feeds, every, ["y"])["y"], run_reference(qdq, feeds)["y"])


def test_the_uint8_twin_has_the_same_figures(make) -> None:
    fp32, qdq = make()
    assert ranked(fp32, to_uint8(qdq)) == ranked(fp32, qdq)


def test_a_wrong_channel_of_weights_comes_first(make) -> None:
    fp32, qdq = make()
    before = {name: rest for name, *rest in ranked(fp32, qdq)}
    node = next(node for node in qdq.graph if node.name == "c2/Conv")
    constant = integer_constant(node, 1)
    assert constant is not None
    integers = constant.integers.copy()
    integers[0] = -integers[0]
    constant.store(integers, constant.scale)
    (name, weights_db, activations_db), (_, second, _), *_ = ranked(fp32, qdq)
    assert name == "r2"
    assert weights_db is not None
    assert weights_db < 20
    assert second is None or second > weights_db + 10
    assert activations_db == before["r2"][1]  # rounding what it writes is no worse than it was


def test_a_wrong_bias_comes_first(make) -> None:
    fp32, qdq = make()
    node = next(node for node in qdq.graph if node.name == "c2/Conv")
    constant = integer_constant(node, 2)
    assert constant is not None
    integers = constant.integers.copy()
    integers[1] += int(2 / constant.scale[1])
    constant.store(integers, constant.scale)
    (name, weights_db, _), *_ = ranked(fp32, qdq)
    assert name == "r2"
    assert weights_db is not None
    assert weights_db < 25


def test_an_outlier_channel_of_activations_comes_first(make) -> None:
    """The same network, one channel of r2 scaled up and down again: the range of that tensor is what it costs."""
    w = weights()
    scale = np.ones(8, np.float32)
    scale[5] = 200
    outlier = {"w2": w["w2"] * scale[:, None, None, None], "b2": w["b2"] * scale, "k": w["k"] / scale[:, None, None]}
    (name, weights_db, activations_db), *_ = ranked(*make(**outlier))
    assert name == "r2"
    assert activations_db is not None
    assert weights_db is None or activations_db < weights_db - 10


def test_an_operator_that_moves_values_has_no_error_of_its_own(make) -> None:
    found = {name: (w, a) for name, w, a in ranked(*make())}
    assert found["e"] == found["p"] == (None, None)
    assert found["m"][0] is not None  # the map of a gate is a constant that is rounded


def test_noise_of_single_layers_adds_up_to_about_the_whole(make) -> None:
    graph = SwitchedGraph(*make())
    network, found = simulate(graph, samples(2), lambda done, total, what: None)
    exact = [graph.run(sample, (), ["y"])["y"] for sample in samples(2)]
    power = sum(float((array.astype(np.float64) ** 2).sum()) for array in exact)
    added = 10 * np.log10(power / sum(layer.output_noise for layer in found))
    assert network.both_db == pytest.approx(added, abs=2)
    assert found[-1].cumulative_db == pytest.approx(network.both_db)


def test_progress_counts_every_run(make) -> None:
    graph, steps = SwitchedGraph(*make()), []
    simulate(graph, samples(2), lambda done, total, what: steps.append((done, total)))
    count = 2 * sum(len(layer.switches) for layer in graph.layers)
    assert steps == [(done, count) for done in range(count)]


def test_graphs_of_two_networks_are_refused(make, build_graph) -> None:
    _, qdq = make()
    other = build_graph("g (float[1,3,16,16] x) => (float[1,3,16,16] y) { y = Relu(x) }")
    with pytest.raises(ExportError, match="is not in the fp32 graph"):
        SwitchedGraph(other, qdq)
    fp32, _ = make()
    for value in fp32.graph.initializers.values():
        array = constant_value(value)
        if value.name == "w2" and array is not None:
            value.const_value = ir.tensor(array[:4], name="w2")
    with pytest.raises(ExportError, match=r"\[8, 8, 3, 3\] in int8 and \[4, 8, 3, 3\] in fp32"):
        SwitchedGraph(fp32, qdq)
