"""ONNX Runtime rounds float weights between quantisers by itself: shown, and kept from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.executor import open_session
from edgeconv.export.float_guards import guard_float_operators
from edgeconv.export.quantize import QuantisationScheme, quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.twins import to_uint8

Build = Callable[..., ir.Model]


@pytest.fixture
def planted(build_graph: Build) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """The middle one of three convolutions in float; it subtracts two equal channels with large weights."""
    rng = np.random.default_rng(0)
    w1, w2, w3 = (rng.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32) for _ in range(3))
    w1[1] = w1[0]
    large = 60 * np.abs(w2).max()
    w2[:, 0] += large
    w2[:, 1] -= large
    model = build_graph(
        """g (float[1,4,12,12] x, float[4,4,3,3] w1, float[4,4,3,3] w2, float[4,4,3,3] w3) => (float[1,4,12,12] y)
        { a = Conv<pads = [1,1,1,1]>(x, w1) b = Conv<pads = [1,1,1,1]>(a, w2)
        y = Conv<pads = [1,1,1,1]>(b, w3) }""",
        w1=w1,
        w2=w2,
        w3=w3,
    )
    samples = [{"x": rng.normal(0, 1, (1, 4, 12, 12)).astype(np.float32)} for _ in range(2)]
    scheme = QuantisationScheme(float_nodes=("b/Conv",))
    result = quantize(model, collect_statistics(model, samples), samples, scheme=scheme)
    return result.model, samples[0]


def _distance(model: ir.Model, feeds: dict[str, np.ndarray], expected: np.ndarray) -> float:
    (found,) = open_session(model, optimise=True).run(None, feeds)
    return float(np.sum((found - expected) ** 2) / np.sum(expected**2))


@pytest.mark.parametrize("twin", [lambda model: model, to_uint8])
def test_float_weights_stay_float_in_onnx_runtime(
    planted: tuple[ir.Model, dict[str, np.ndarray]], twin: Callable[[ir.Model], ir.Model]
) -> None:
    model, feeds = planted
    expected = run_reference(model, feeds)["y"]
    guarded = twin(model.clone())
    assert guard_float_operators(guarded) == 1
    np.testing.assert_array_equal(run_reference(guarded, feeds)["y"], expected)
    assert _distance(guarded, feeds, expected) < 1e-4


def test_without_the_guard_they_do_not(planted: tuple[ir.Model, dict[str, np.ndarray]]) -> None:
    """What the guard is for. Should a later ONNX Runtime leave float weights alone, this fails and the guard can go."""
    model, feeds = planted
    expected = run_reference(model, feeds)["y"]
    assert _distance(to_uint8(model), feeds, expected) > 0.1


def test_nothing_is_guarded_where_all_is_int8(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,4,6,6] x, float[4,4,3,3] w) => (float[1,4,6,6] y) { y = Conv<pads = [1,1,1,1]>(x, w) }",
        w=np.ones((4, 4, 3, 3), np.float32),
    )
    samples = [{"x": np.ones((1, 4, 6, 6), np.float32)}]
    result = quantize(model, collect_statistics(model, samples), samples)
    assert guard_float_operators(result.model) == 0
    assert guard_float_operators(model) == 0
