from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.bottlenecks import draw_vectors
from edgeconv.rewrite import BalanceBottlenecks, EqualiseBottlenecks, RewriteReport, run_rewrites
from edgeconv.rewrite._evaluate import evaluate

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Normal = Callable[..., np.ndarray]


def _cancelling_pair(build: Build, normal: Normal, rank: int = 6) -> ir.Model:
    """Every channel of z carries the same large signal, and the second factor subtracts it again."""
    common = 30 * normal(1, 3, 1, 3)
    w2 = normal(4, rank, 3, 1)
    w2 -= w2.mean(axis=1, keepdims=True)
    return build(
        f"""g (float[1,3,30,31] x, float[{rank},3,1,3] w1, float[4,{rank},3,1] w2, float[4] b2) => (float[1,4,30,31] y)
        {{ z = Conv<pads = [0,1,0,1]>(x, w1) y = Conv<pads = [1,0,1,0]>(z, w2, b2) }}""",
        w1=normal(rank, 3, 1, 3) + common,
        w2=w2,
        b2=normal(4),
    )


def _rounding_loss_db(model: ir.Model, x: np.ndarray) -> float:
    """SQNR of the output when only z is rounded to 8 bits on one scale."""
    reader = next(node for node in model.graph if node.name == "y/Conv")
    value = reader.inputs[0]
    assert value is not None
    tapped = model.clone()
    z_value = next(v for node in tapped.graph for v in node.outputs if v.name == value.name)
    tapped.graph.outputs.append(z_value)
    run = evaluate(tapped, [{"x": x}])[0]
    step = (run[str(value.name)].max() - run[str(value.name)].min()) / 255
    weight = reader.inputs[1].const_value.numpy().astype(np.float64)  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    noise = rng.uniform(-step / 2, step / 2, (200, weight.shape[1], weight.shape[2]))
    error = np.einsum("pch,och->po", noise, weight[..., 0])
    return float(10 * np.log10(np.mean(run["y"] ** 2) / np.mean(error**2)))


def _inner(model: ir.Model, x: np.ndarray) -> np.ndarray:
    """The tensor between the two convolutions on `x`."""
    tapped = model.clone()
    tapped.graph.outputs.append(next(v for n in tapped.graph for v in n.outputs if v.name == "z"))
    return evaluate(tapped, [{"x": x}])[0]["z"]


def _gramian(model: ir.Model) -> np.ndarray:
    weight = next(n for n in model.graph if n.name == "y/Conv").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    columns = np.moveaxis(weight.astype(np.float64), 1, -1).reshape(-1, weight.shape[1])
    return np.asarray(columns.T @ columns)


def test_rounding_a_cancelling_bottleneck_costs_less(build_graph: Build, apply: Apply, normal: Normal) -> None:
    x = normal(1, 3, 30, 31)
    model = _cancelling_pair(build_graph, normal)
    before = _rounding_loss_db(model, x)
    report = apply(model, BalanceBottlenecks(draw_vectors(model, [{"x": x}])))
    apply(model, EqualiseBottlenecks({"z": np.abs(_inner(model, x)).max(axis=(0, 2, 3))}))
    assert report.changed == 1
    assert _rounding_loss_db(model, x) > before + 10


@pytest.mark.parametrize("rank", [8, 12, 7])
def test_covariance_and_gramian_become_the_same_with_an_even_diagonal(
    build_graph: Build, apply: Apply, normal: Normal, rank: int
) -> None:
    x = normal(1, 3, 30, 31)
    model = _cancelling_pair(build_graph, normal, rank)
    apply(model, BalanceBottlenecks(draw_vectors(model, [{"x": x}])))
    covariance, gramian = np.cov(_inner(model, x)[0].reshape(rank, -1), bias=True), _gramian(model)
    np.testing.assert_allclose(covariance, gramian, atol=2e-3 * gramian.max())
    spread = np.diag(gramian).max() / np.diag(gramian).min()
    assert spread < (1.01 if rank == 8 else 3)
    assert np.linalg.cond(gramian) > 10  # it had something to even out


def test_weights_of_channels_that_are_not_needed_stay_close_to_zero(
    build_graph: Build, apply: Apply, normal: Normal
) -> None:
    """Little more than one direction of 32 carries the signal: sixteen channels share it, not the others."""
    mixing = np.linalg.qr(np.random.default_rng(1).standard_normal((32, 32)))[0].astype(np.float32)
    strength = np.where(np.arange(32) == 0, 1, 1e-3).astype(np.float32)
    model = build_graph(
        """g (float[1,32,30,30] x, float[32,32,1,1] w1, float[32,32,1,1] w2) => (float[1,32,30,30] y)
        { z = Conv(x, w1) y = Conv(z, w2) }""",
        w1=(mixing * strength)[..., None, None],
        w2=normal(32, 32, 1, 1),
    )
    x = normal(1, 32, 30, 30)
    assert apply(model, BalanceBottlenecks(draw_vectors(model, [{"x": x}]))).changed == 1
    power = np.diag(_gramian(model))
    assert power[:16].max() < 1.01 * power[:16].min()
    assert 0 < power[16:].max() < 0.05 * power[:16].min()


def test_a_gauge_that_rounds_well_is_kept(build_graph: Build, apply: Apply) -> None:
    """Even channels that fill their ranges alike: any mixture of them has longer tails."""
    rng = np.random.default_rng(0)
    model = build_graph(
        """g (float[1,8,40,40] x, float[8,8,1,1] w1, float[8,8,1,1] w2) => (float[1,8,40,40] y)
        { z = Conv(x, w1) y = Conv(z, w2) }""",
        w1=np.eye(8, dtype=np.float32)[..., None, None],
        w2=np.eye(8, dtype=np.float32)[..., None, None],
    )
    samples = [{"x": rng.uniform(-1, 1, (1, 8, 40, 40)).astype(np.float32)} for _ in range(2)]
    assert apply(model, BalanceBottlenecks(draw_vectors(model, samples))).changed == 0


def test_a_gauge_that_fits_only_the_samples_it_was_made_of_is_not_taken(
    build_graph: Build, apply: Apply, normal: Normal
) -> None:
    """Nine positions say nothing about the covariance of 32 channels."""
    model = build_graph(
        """g (float[1,8,3,3] x, float[32,8,3,3] w1, float[16,32,1,1] w2) => (float[1,16,3,3] y)
        { z = Conv<pads = [1,1,1,1]>(x, w1) y = Conv(z, w2) }""",
        w1=normal(32, 8, 3, 3),
        w2=normal(16, 32, 1, 1),
    )
    samples = [{"x": normal(1, 8, 3, 3)} for _ in range(2)]
    assert apply(model, BalanceBottlenecks(draw_vectors(model, samples))).changed == 0


@pytest.mark.parametrize("body", ["t = Relu(z)", "t = Add(z, z)"])
def test_nothing_changes_where_something_stands_between(build_graph: Build, normal: Normal, body: str) -> None:
    model = build_graph(
        f"""g (float[1,3,7,8] x, float[6,3,1,3] w1, float[4,6,3,1] w2) => (float[1,4,7,8] y)
        {{ z = Conv<pads = [0,1,0,1]>(x, w1) {body} y = Conv<pads = [1,0,1,0]>(t, w2) }}""",
        w1=normal(6, 3, 1, 3),
        w2=normal(4, 6, 3, 1),
    )
    assert draw_vectors(model, [{"x": normal(1, 3, 7, 8)}]) == {}
    (report,) = run_rewrites(model, [BalanceBottlenecks({"z": [normal(50, 6)]})])
    assert report.changed == 0


def test_a_silent_bottleneck_is_left_alone(build_graph: Build, normal: Normal) -> None:
    model = _cancelling_pair(build_graph, normal)
    (report,) = run_rewrites(model, [BalanceBottlenecks({"z": [np.zeros((50, 6))] * 2})])
    assert (report.changed, report.kept) == (0, True)
