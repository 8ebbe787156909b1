from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize
from edgeconv.export.quantize.sequential import Layer, correct_bias, run_sequential_pass
from edgeconv.export.quantize.units import IntegerConstant
from edgeconv.export.reference import run_reference
from edgeconv.graph import constant_value

_RNG = np.random.default_rng(0)
_TWO_LAYERS = """g (float[1,3,12,12] x, float[8,3,3,3] w, float[4,8,3,3] v) => (float[1,4,8,8] y) {
    c = Conv(x, w) r = Relu(c) y = Conv(r, v)
}"""


def _model(build_graph: Callable[..., ir.Model]) -> ir.Model:
    return build_graph(
        _TWO_LAYERS,
        w=_RNG.normal(size=(8, 3, 3, 3)).astype(np.float32),
        v=_RNG.normal(size=(4, 8, 3, 3)).astype(np.float32),
    )


def _samples(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": _RNG.uniform(0, 1, (1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def _means(model: ir.Model, tensor: str, samples: list[dict[str, np.ndarray]]) -> np.ndarray:
    return np.mean([run_reference(model, s, taps=[tensor])[tensor].mean(axis=(0, 2, 3)) for s in samples], axis=0)


@pytest.mark.parametrize(("tensor", "gain"), [("r", 2), ("y", 10)])  # behind a ReLU the steps only approach the goal
def test_the_mean_of_every_channel_becomes_that_of_the_fp32_network(
    build_graph: Callable[..., ir.Model], tensor: str, gain: float
) -> None:
    model, samples = _model(build_graph), _samples(4)
    statistics = collect_statistics(model, samples, tensors=observed_tensors(model))
    errors = {}
    for corrected in (False, True):
        scheme = QuantisationScheme(ranges="minmax", bias_correction=corrected)
        result = quantize(model, statistics, samples, scheme=scheme)
        name = tensor if tensor == "r" else "y_float"
        errors[corrected] = np.abs(_means(result.model, name, samples) - _means(model, tensor, samples)).max()
    assert errors[True] < errors[False] / gain


def test_a_bias_is_created_where_there_was_none(build_graph: Callable[..., ir.Model]) -> None:
    model, samples = _model(build_graph), _samples(2)
    result = quantize(model, collect_statistics(model, samples), samples)
    assert result.summary.corrected_biases == 2
    assert constant_value(result.model.graph.initializers["c/Conv/bias_q"]).any()


def test_the_pass_visits_layers_in_graph_order_with_the_integers_refined_so_far(
    build_graph: Callable[..., ir.Model],
) -> None:
    model, samples = _model(build_graph), _samples(2)
    scheme = QuantisationScheme(bias_correction=True, ranges="minmax")
    result = quantize(model, collect_statistics(model, samples), samples, scheme=scheme)
    seen: list[str] = []

    def record(layer: Layer) -> bool:
        seen.append(str(layer.node.name))
        assert len(layer.target) == len(layer.result) == 2
        assert layer.target[0].shape == layer.result[0].shape
        assert (layer.bounds == (0.0, float("inf"))) == (layer.node.name == "c/Conv")
        expected = run_reference(result.model, samples[1], taps=[str(layer.node.outputs[0].name)])
        assert np.array_equal(layer.result[1], expected[str(layer.node.outputs[0].name)])
        return False

    assert run_sequential_pass(model, result.model, samples, record) == set()
    assert seen == ["c/Conv", "y/Conv"]


def _layer(result: np.ndarray, target: np.ndarray, bounds: tuple[float, float] | None, scale: float = 1e-6) -> Layer:
    channels = result.shape[1]
    value = ir.Value(name="b", const_value=ir.tensor(np.zeros(channels, np.int32), name="b"))
    bias = IntegerConstant(
        value, ir.Value(name="scale"), np.zeros(channels, np.int32), np.full(channels, scale, np.float32), 0
    )
    return Layer(ir.node("Conv", []), bias, bounds, [target], [result.copy()])


@pytest.mark.parametrize("bounds", [None, (0.0, float("inf")), (0.0, 6.0)])
def test_three_steps_bring_the_mean_behind_the_activation_home(bounds: tuple[float, float] | None) -> None:
    result = _RNG.normal(size=(1, 5, 30, 30)).astype(np.float32) * 3
    shifted = result + np.linspace(-0.3, 0.3, 5, dtype=np.float32).reshape(1, 5, 1, 1)
    target = shifted if bounds is None else np.clip(shifted, *bounds)
    layer = _layer(result, target, bounds)
    assert correct_bias(layer)
    found = layer.result[0] if bounds is None else np.clip(layer.result[0], *bounds)
    before = result if bounds is None else np.clip(result, *bounds)
    remaining = np.abs((found - target).mean(axis=(0, 2, 3))).max()
    assert remaining < np.abs((before - target).mean(axis=(0, 2, 3))).max() / 5


def test_a_channel_that_is_dead_in_both_networks_is_left_alone() -> None:
    result = np.full((1, 2, 4, 4), -1, np.float32)
    layer = _layer(result, np.zeros_like(result), (0.0, float("inf")))
    assert not correct_bias(layer)
    assert np.array_equal(layer.result[0], result)


def test_a_correction_that_would_overflow_the_bias_is_not_made() -> None:
    result = np.zeros((1, 2, 4, 4), np.float32)
    target = np.full_like(result, [[[[1.0]], [[1e-8]]]])
    layer = _layer(result, target, None, scale=1e-10)
    correct_bias(layer)
    assert layer.bias.value.const_value.numpy().tolist() == [0, 100]
