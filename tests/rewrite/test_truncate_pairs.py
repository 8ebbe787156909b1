from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import UsageError
from edgeconv.export.bottlenecks import collect_moments
from edgeconv.rewrite import RewriteReport, run_rewrites
from edgeconv.rewrite._edit import AffineLayer
from edgeconv.rewrite._evaluate import evaluate
from edgeconv.rewrite.truncate_pairs import FactorPair, TruncatePairs, find_pairs

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Normal = Callable[..., np.ndarray]

_PAIR = """g (float[1,3,10,12] x, float[8,3,1,3] w1, float[8] b1, float[5,8,3,1] w2, float[5] b2)
=> (float[1,5,10,12] y)
{ z = Conv<pads = [0,1,0,1]>(x, w1, b1) y = Conv<pads = [1,0,1,0]>(z, w2, b2) }"""
_POINTWISE = """g (float[1,6,9,9] x, float[6,6,3,3] w1, float[6] b1, float[4,6,1,1] w2) => (float[1,4,9,9] y)
{ z = Conv<pads = [1,1,1,1]>(x, w1, b1) y = Conv(z, w2) }"""


def _pair(build: Build, normal: Normal) -> ir.Model:
    return build(_PAIR, w1=normal(8, 3, 1, 3), b1=normal(8), w2=normal(5, 8, 3, 1), b2=normal(5))


def _moments(model: ir.Model, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    return collect_moments(model, [{"x": x} for x in inputs])


def _weights(model: ir.Model, node: str) -> np.ndarray:
    return next(n for n in model.graph if n.name == node).inputs[1].const_value.numpy()  # type: ignore[union-attr]


def test_the_energy_lost_before_a_pointwise_convolution_is_what_was_foretold(
    build_graph: Build, normal: Normal
) -> None:
    for rank in range(1, 4):
        model = build_graph(_POINTWISE, w1=normal(6, 6, 3, 3), b1=normal(6), w2=normal(4, 6, 1, 1))
        x = normal(1, 6, 9, 9)
        moments = _moments(model, x)
        (pair,) = find_pairs(model.graph, moments)
        foretold = pair.lost()[rank]
        before = evaluate(model, [{"x": x}])[0]["y"].astype(np.float64)
        (report,) = run_rewrites(model, [TruncatePairs({"y/Conv": rank}, moments)], [{"x": x}])
        after = evaluate(model, [{"x": x}])[0]["y"]
        assert report.kept
        assert report.changed == 1
        assert np.sum((after - before) ** 2) / np.sum(before**2) == pytest.approx(foretold, rel=1e-3)


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 6), st.integers(2, 12))
def test_the_projection_is_the_best_of_its_rank(seed: int, rank: int, outputs: int, positions: int) -> None:
    """Against the singular values of ``B z`` over the data themselves."""
    rng = np.random.default_rng(seed)
    z, b = rng.standard_normal((6, positions)), rng.standard_normal((outputs, 6))
    pair = _direct_pair(b, z @ z.T / positions)
    reading, writing = pair.projection(rank)
    assert reading.shape == (rank, 6)
    assert writing.shape == (6, rank)
    error = np.sum((b @ (z - writing @ reading @ z)) ** 2)
    best = np.sum(np.linalg.svd(b @ z, compute_uv=False)[rank:] ** 2)
    energy = np.sum((b @ z) ** 2)
    assert error == pytest.approx(best, abs=1e-7 * energy)
    assert pair.lost()[rank] * energy == pytest.approx(best, abs=1e-7 * energy)


def _direct_pair(second: np.ndarray, moments: np.ndarray) -> FactorPair:
    node = ir.Node("", "Conv", [], name="n")
    first = AffineLayer(node, np.zeros((6, 1, 1, 1)), np.zeros(6), 1)
    return FactorPair(first, AffineLayer(node, second[:, :, None, None], np.zeros(len(second)), 1), moments)


def test_truncation_is_classed_as_approximated_and_shrinks_both_kernels(
    build_graph: Build, normal: Normal, apply: Apply
) -> None:
    model, x = _pair(build_graph, normal), normal(1, 3, 10, 12)
    report = apply(model, TruncatePairs({"y/Conv": 3}, _moments(model, x)))
    assert (report.equivalence, report.changed) == ("approximated", 1)
    assert _weights(model, "z/Conv").shape == (3, 3, 1, 3)
    assert _weights(model, "y/Conv").shape == (5, 3, 3, 1)
    assert "rank 8 to 3" in report.details[0]


def test_what_carries_nothing_is_truncated_exactly_at_the_border_too(build_graph: Build, normal: Normal) -> None:
    """Rank 3 of 8, with a bias: padding adds zeros behind it, which a projection must leave alone."""
    mixing = normal(8, 3)
    w1, b1 = np.tensordot(mixing, normal(3, 3, 1, 3), axes=1), mixing @ normal(3)
    model = build_graph(_PAIR, w1=w1, b1=b1, w2=normal(5, 8, 3, 1), b2=normal(5))
    x = normal(1, 3, 10, 12)
    (report,) = run_rewrites(model, [TruncatePairs({"y/Conv": 3}, _moments(model, x))], [{"x": x}])
    assert report.changed == 1
    assert report.sqnr_db > 100


def test_data_decide_which_directions_stay(build_graph: Build, normal: Normal) -> None:
    """Half of the input is silent in the data: what the weights make of it is given up first."""
    model = build_graph(_POINTWISE, w1=normal(6, 6, 3, 3), b1=np.zeros(6, np.float32), w2=normal(4, 6, 1, 1))
    silent = normal(1, 6, 9, 9)
    silent[:, 1:] = 0
    before = evaluate(model, [{"x": silent}])[0]["y"]
    with_data, without = model.clone(), model.clone()
    run_rewrites(with_data, [TruncatePairs({"y/Conv": 3}, _moments(model, silent))])
    run_rewrites(without, [TruncatePairs({"y/Conv": 3}, {"z": np.eye(6)})])
    errors = [np.sum((evaluate(m, [{"x": silent}])[0]["y"] - before) ** 2) for m in (with_data, without)]
    assert errors[0] < 0.5 * errors[1]


def test_a_chain_of_three_is_two_pairs(build_graph: Build, normal: Normal) -> None:
    model = build_graph(
        """g (float[1,3,8,8] x, float[6,3,1,1] w1, float[6,6,3,1] w2, float[4,6,1,3] w3) => (float[1,4,8,8] y)
        { a = Conv(x, w1) b = Conv<pads = [1,0,1,0]>(a, w2) y = Conv<pads = [0,1,0,1]>(b, w3) }""",
        w1=normal(6, 3, 1, 1),
        w2=normal(6, 6, 3, 1),
        w3=normal(4, 6, 1, 3),
    )
    x = normal(1, 3, 8, 8)
    moments = _moments(model, x)
    (report,) = run_rewrites(model, [TruncatePairs({"b/Conv": 3, "y/Conv": 5}, moments)], [{"x": x}])
    assert report.changed == 2
    assert _weights(model, "b/Conv").shape == (5, 3, 3, 1)
    assert report.sqnr_db > 10  # a has rank 3 anyway


def test_what_is_no_pair_or_no_rank_is_refused(build_graph: Build, normal: Normal) -> None:
    model, x = _pair(build_graph, normal), normal(1, 3, 10, 12)
    moments = _moments(model, x)
    with pytest.raises(UsageError, match=r"no pair.*'nowhere'.*y/Conv"):
        TruncatePairs({"nowhere": 3}, moments).apply(model)
    for rank in (0, 9, -1):
        with pytest.raises(UsageError, match=f"Rank {rank} .* rank 8"):
            TruncatePairs({"y/Conv": rank}, moments).apply(model)
    assert TruncatePairs({"y/Conv": 8}, moments).apply(model).changed == 0


def test_an_activation_between_makes_no_pair(build_graph: Build, normal: Normal) -> None:
    model = build_graph(
        """g (float[1,3,8,8] x, float[6,3,1,1] w1, float[4,6,1,1] w2) => (float[1,4,8,8] y)
        { a = Conv(x, w1) r = Relu(a) y = Conv(r, w2) }""",
        w1=normal(6, 3, 1, 1),
        w2=normal(4, 6, 1, 1),
    )
    assert not list(find_pairs(model.graph, _moments(model, normal(1, 3, 8, 8))))
