from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.moments import collect_moments
from edgeconv.rewrite import BalanceBottlenecks, EqualiseBottlenecks, RewriteReport, run_rewrites
from edgeconv.rewrite._evaluate import evaluate

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Normal = Callable[..., np.ndarray]


def _cancelling_pair(build: Build, normal: Normal) -> ir.Model:
    """Every channel of z carries the same large signal, and the second factor subtracts it again."""
    common = 30 * normal(1, 3, 1, 3)
    w2 = normal(4, 6, 3, 1)
    w2 -= w2.mean(axis=1, keepdims=True)
    return build(
        """g (float[1,3,17,18] x, float[6,3,1,3] w1, float[4,6,3,1] w2, float[4] b2) => (float[1,4,17,18] y)
        { z = Conv<pads = [0,1,0,1]>(x, w1) y = Conv<pads = [1,0,1,0]>(z, w2, b2) }""",
        w1=normal(6, 3, 1, 3) + common,
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


def test_rounding_a_cancelling_bottleneck_costs_less(build_graph: Build, apply: Apply, normal: Normal) -> None:
    x = normal(1, 3, 17, 18)
    model = _cancelling_pair(build_graph, normal)
    before = _rounding_loss_db(model, x)
    moments = collect_moments(model, [{"x": x}])
    report = apply(model, BalanceBottlenecks(moments))
    tapped = model.clone()
    tapped.graph.outputs.append(next(v for n in tapped.graph for v in n.outputs if v.name == "z"))
    ranges = {"z": np.abs(evaluate(tapped, [{"x": x}])[0]["z"]).max(axis=(0, 2, 3))}
    apply(model, EqualiseBottlenecks(ranges))
    assert report.changed == 1
    assert _rounding_loss_db(model, x) > before + 10


def test_moments_are_the_centred_covariance(build_graph: Build, normal: Normal) -> None:
    model = _cancelling_pair(build_graph, normal)
    samples = [{"x": normal(1, 3, 17, 18)} for _ in range(3)]
    tapped = model.clone()
    tapped.graph.outputs.append(next(v for n in tapped.graph for v in n.outputs if v.name == "z"))
    z = np.concatenate([run["z"][0].reshape(6, -1) for run in evaluate(tapped, samples)], axis=1)
    np.testing.assert_allclose(collect_moments(model, samples)["z"], np.cov(z, bias=True), rtol=1e-4, atol=1e-3)


def test_moments_and_gramian_become_the_same_diagonal_matrix(build_graph: Build, apply: Apply, normal: Normal) -> None:
    x = normal(1, 3, 17, 18)
    model = _cancelling_pair(build_graph, normal)
    apply(model, BalanceBottlenecks(collect_moments(model, [{"x": x}])))
    moments = collect_moments(model, [{"x": x}])["z"]
    weight = next(n for n in model.graph if n.name == "y/Conv").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    columns = np.moveaxis(weight.astype(np.float64), 1, -1).reshape(-1, 6)
    gramian = columns.T @ columns
    np.testing.assert_allclose(moments, gramian, atol=2e-3 * gramian.max())
    np.testing.assert_allclose(gramian, np.diag(np.diag(gramian)), atol=2e-3 * gramian.max())


@pytest.mark.parametrize("body", ["t = Relu(z)", "t = Add(z, z)"])
def test_nothing_changes_where_something_stands_between(build_graph: Build, normal: Normal, body: str) -> None:
    model = build_graph(
        f"""g (float[1,3,7,8] x, float[6,3,1,3] w1, float[4,6,3,1] w2) => (float[1,4,7,8] y)
        {{ z = Conv<pads = [0,1,0,1]>(x, w1) {body} y = Conv<pads = [1,0,1,0]>(t, w2) }}""",
        w1=normal(6, 3, 1, 3),
        w2=normal(4, 6, 3, 1),
    )
    assert collect_moments(model, [{"x": normal(1, 3, 7, 8)}]) == {}
    (report,) = run_rewrites(model, [BalanceBottlenecks({"z": np.eye(6)})])
    assert report.changed == 0


def test_a_silent_bottleneck_is_left_alone(build_graph: Build, normal: Normal) -> None:
    model = _cancelling_pair(build_graph, normal)
    (report,) = run_rewrites(model, [BalanceBottlenecks({"z": np.zeros((6, 6))})])
    assert (report.changed, report.kept) == (0, True)
