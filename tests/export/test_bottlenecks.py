from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.bottlenecks import collect_moments, draw_vectors
from edgeconv.rewrite._evaluate import evaluate

Build = Callable[..., ir.Model]
Normal = Callable[..., np.ndarray]


@pytest.fixture
def normal() -> Normal:
    rng = np.random.default_rng(0)
    return lambda *shape: rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def pair(build_graph: Build, normal: Normal) -> ir.Model:
    return build_graph(
        """g (float[1,3,70,80] x, float[6,3,1,3] w1, float[4,6,3,1] w2) => (float[1,4,70,80] y)
        { z = Conv<pads = [0,1,0,1]>(x, w1) y = Conv<pads = [1,0,1,0]>(z, w2) }""",
        w1=normal(6, 3, 1, 3),
        w2=normal(4, 6, 3, 1),
    )


def _inner(model: ir.Model, samples: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """Positions x channels of z for each sample."""
    tapped = model.clone()
    tapped.graph.outputs.append(next(v for n in tapped.graph for v in n.outputs if v.name == "z"))
    return [run["z"][0].reshape(6, -1).T.astype(np.float64) for run in evaluate(tapped, samples)]


def test_moments_are_of_all_positions_of_all_samples_about_zero(pair: ir.Model, normal: Normal) -> None:
    samples = [{"x": 1 + normal(1, 3, 70, 80)} for _ in range(3)]
    z = np.concatenate(_inner(pair, samples))
    np.testing.assert_allclose(collect_moments(pair, samples)["z"], z.T @ z / len(z), rtol=1e-4)


def test_vectors_are_drawn_from_different_positions_of_each_sample(pair: ir.Model, normal: Normal) -> None:
    samples = [{"x": normal(1, 3, 70, 80)} for _ in range(2)]
    drawn = draw_vectors(pair, samples)["z"]
    assert [vectors.shape for vectors in drawn] == [(4096, 6)] * 2
    for vectors, whole in zip(drawn, _inner(pair, samples), strict=True):
        rows = {tuple(row) for row in np.round(whole, 3)}
        found = {tuple(row) for row in np.round(vectors, 3)}
        assert len(found) > 4090
        assert len(found & rows) > 0.98 * len(found)


def test_the_same_vectors_are_drawn_again(pair: ir.Model, normal: Normal) -> None:
    samples = [{"x": normal(1, 3, 70, 80)}]
    np.testing.assert_array_equal(draw_vectors(pair, samples)["z"], draw_vectors(pair, samples)["z"])


def test_a_graph_without_pairs_has_neither(build_graph: Build, normal: Normal) -> None:
    model = build_graph(
        "g (float[1,3,7,8] x, float[4,3,1,1] w) => (float[1,4,7,8] y) { y = Conv(x, w) }", w=normal(4, 3, 1, 1)
    )
    samples = [{"x": normal(1, 3, 7, 8)}]
    assert (collect_moments(model, samples), draw_vectors(model, samples)) == ({}, {})
