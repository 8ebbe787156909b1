from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import DataError, ExportError
from edgeconv.export.calibrate import collect_channel_ranges, collect_statistics

_GRAPH = """g (float[1,3,8,8] x, float[4,3,3,3] w) => (float[1,4,8,8] y) {
    c = Conv<pads=[1,1,1,1]>(x, w)
    y = Relu(c)
}"""


@pytest.fixture
def model(build_graph: Callable[..., ir.Model]) -> ir.Model:
    return build_graph(_GRAPH, w=np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32))


def _samples(count: int, shape: tuple[int, ...] = (1, 3, 8, 8)) -> Iterator[dict[str, np.ndarray]]:
    for index in range(count):
        yield {"x": np.random.default_rng(index).normal(size=shape).astype(np.float32) * (index + 1)}


def test_extremes_and_channels_are_exact(model: ir.Model) -> None:
    statistics = collect_statistics(model, _samples(5))
    values = np.concatenate([sample["x"] for sample in _samples(5)])
    assert statistics.samples == 5
    assert set(statistics.tensors) == {"x", "c", "y"}
    assert statistics["x"].low == values.min()
    assert statistics["x"].high == values.max()
    assert statistics["x"].count == values.size
    assert statistics["y"].low == 0
    assert statistics["y"].high == statistics["c"].high


def test_channel_ranges_are_the_largest_magnitudes(model: ir.Model) -> None:
    ranges = collect_channel_ranges(model, _samples(5))
    assert set(ranges) == {"x", "c", "y"}
    values = np.concatenate([sample["x"] for sample in _samples(5)])
    assert np.array_equal(ranges["x"], np.abs(values).max(axis=(0, 2, 3)))
    assert set(collect_channel_ranges(model, _samples(1), tensors=["c"])) == {"c"}
    with pytest.raises(DataError, match="no calibration sample"):
        collect_channel_ranges(model, _samples(0))


def test_only_the_wanted_tensors_are_observed(model: ir.Model) -> None:
    assert set(collect_statistics(model, _samples(1), tensors=["c"]).tensors) == {"c"}
    assert set(collect_statistics(model, _samples(1), tensors=["x"]).tensors) == {"x"}
    with pytest.raises(ExportError, match="nowhere"):
        collect_statistics(model, _samples(1), tensors=["nowhere"])
    with pytest.raises(ExportError, match="'y'"):
        collect_statistics(model, _samples(1), tensors=["c"])["y"]


def test_memory_does_not_grow_with_the_number_of_samples(build_graph: Callable[..., ir.Model]) -> None:
    model = build_graph("g (float[1,8,64,64] x) => (float[1,8,64,64] y) { r = Relu(x) y = Sigmoid(r) }")

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        collect_statistics(model, _samples(count, (1, 8, 64, 64)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    sample_bytes = 8 * 64 * 64 * 4
    assert peak_bytes(200) - peak_bytes(4) < sample_bytes


def test_no_samples_are_refused(model: ir.Model) -> None:
    with pytest.raises(DataError, match="no calibration sample"):
        collect_statistics(model, [])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_named(model: ir.Model, poison: float) -> None:
    samples = list(_samples(4))
    samples[2]["x"][0, 1, 2, 3] = poison
    with pytest.raises(DataError, match="sample 2: input 'x'"):
        collect_statistics(model, samples)


def test_an_activation_that_is_not_finite_is_named_with_its_module(build_graph: Callable[..., ir.Model]) -> None:
    model = build_graph("g (float[1,2] x) => (float[1,2] y) { r = Log(x) y = Relu(r) }")
    model.graph[0].metadata_props["edgeconv.module"] = "encoder.log"
    good, bad = np.array([[1, 2]], np.float32), np.array([[1, -2]], np.float32)
    with pytest.raises(DataError, match=r"sample 1 makes tensor 'r'.*r/Log.*encoder\.log"):
        collect_statistics(model, [{"x": good}, {"x": bad}])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"other": np.zeros((1, 3, 8, 8), np.float32)}, "sample 0 has no array for input 'x'"),
        ({"x": np.zeros((1, 3, 8, 9), np.float32)}, r"shape \(1, 3, 8, 9\), expected float32 of shape \(1, 3, 8, 8\)"),
        ({"x": np.zeros((1, 3, 8, 8), np.uint8)}, "is uint8 of shape"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(model: ir.Model, sample: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        collect_statistics(model, [sample])


def test_entries_that_are_no_inputs_are_ignored(model: ir.Model) -> None:
    sample = {**next(_samples(1)), "target": np.full(3, np.nan)}
    assert collect_statistics(model, [sample]).samples == 1
