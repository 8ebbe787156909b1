from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import UsageError
from edgeconv.export.bottlenecks import collect_moments
from edgeconv.export.macs import count_macs
from edgeconv.export.rank_dial import RankDial, choose_ranks
from edgeconv.rewrite import run_rewrites
from edgeconv.rewrite.truncate_pairs import TruncatePairs, find_pairs

Build = Callable[..., ir.Model]
Moments = dict[str, Any]

_NET = """g (float[1,16,16,16] x, float[32,16,1,3] w1, float[24,32,3,1] w2, float[16,24,1,3] w3, float[8,16,3,1] w4,
float[4,8,3,3] w5) => (float[1,4,16,16] y)
{ a = Conv<pads = [0,1,0,1]>(x, w1) b = Conv<pads = [1,0,1,0]>(a, w2) c = Relu(b)
d = Conv<pads = [0,1,0,1]>(c, w3) e = Conv<pads = [1,0,1,0]>(d, w4) f = Relu(e) y = Conv<pads = [1,1,1,1]>(f, w5) }"""


@pytest.fixture(scope="module")
def net(build_graph: Build) -> tuple[ir.Model, Moments]:
    rng = np.random.default_rng(5)
    shapes = {"w1": (32, 16, 1, 3), "w2": (24, 32, 3, 1), "w3": (16, 24, 1, 3), "w4": (8, 16, 3, 1), "w5": (4, 8, 3, 3)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    for name in ("w1", "w3"):  # spectra that fall, as trained ones do
        weights[name] *= np.float32(0.8) ** np.arange(len(weights[name]), dtype=np.float32).reshape(-1, 1, 1, 1)
    model = build_graph(_NET, **weights)
    x = rng.standard_normal((1, 16, 16, 16)).astype(np.float32)
    return model, collect_moments(model, [{"x": x}])


def _macs(model: ir.Model) -> int:
    return sum(count_macs(node) for node in model.graph)


def _truncated_macs(model: ir.Model, ranks: dict[str, int], moments: Moments) -> int:
    copy = model.clone()
    run_rewrites(copy, [TruncatePairs(ranks, moments)])
    return _macs(copy)


@given(st.floats(0.5, 1))
def test_every_pair_keeps_the_energy_asked_for_at_the_least_rank(net: tuple[ir.Model, Moments], energy: float) -> None:
    model, moments = net
    ranks = choose_ranks(model, moments, RankDial(energy=energy, multiple=1))
    for pair in find_pairs(model.graph, moments):
        rank = ranks.get(pair.name, pair.rank)
        lost = pair.lost()
        assert lost[rank] <= 1 - energy + 1e-9
        assert rank == 1 or lost[rank - 1] > 1 - energy


def test_ranks_are_multiples_and_a_pair_of_no_more_channels_is_left_alone(net: tuple[ir.Model, Moments]) -> None:
    ranks = choose_ranks(*net, RankDial(energy=0.5, multiple=8))
    assert set(ranks) == {"b/Conv", "e/Conv"}
    assert all(rank == 8 for rank in ranks.values())
    assert set(choose_ranks(*net, RankDial(energy=0.5, multiple=16))) == {"b/Conv"}


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_a_budget_is_kept_by_the_graph_that_is_made(net: tuple[ir.Model, Moments], share: float) -> None:
    model, moments = net
    for dial in (RankDial(macs_budget=share, multiple=1), RankDial(macs_budget=share * _macs(model), multiple=1)):
        ranks = choose_ranks(model, moments, dial)
        assert 0.8 * share * _macs(model) < _truncated_macs(model, ranks, moments) <= share * _macs(model)


def test_a_budget_that_is_kept_already_truncates_nothing(net: tuple[ir.Model, Moments]) -> None:
    model, moments = net
    assert choose_ranks(model, moments, RankDial(macs_budget=1.0)) == {}
    assert choose_ranks(model, moments, RankDial(macs_budget=2.0 * _macs(model))) == {}


def test_a_budget_below_what_can_be_reached_is_refused_with_what_can(net: tuple[ir.Model, Moments]) -> None:
    with pytest.raises(
        UsageError, match=r"0\.05 asks for .* of the model's .*leave .* Ask for (0\.\d+) or more"
    ) as error:
        choose_ranks(*net, RankDial(macs_budget=0.05))
    reachable = float(str(error.value).split("Ask for ")[1].split()[0])
    assert choose_ranks(*net, RankDial(macs_budget=reachable)) == {"b/Conv": 8, "e/Conv": 8}


@pytest.mark.parametrize(
    ("dial", "words"),
    [
        ({"energy": 0.0}, "--rank-energy 0 "),
        ({"energy": 1.5}, "--rank-energy 1.5"),
        ({"energy": float("nan")}, "--rank-energy nan"),
        ({"macs_budget": -1.0}, "--macs-budget -1"),
        ({"macs_budget": 0.0}, "--macs-budget 0 "),
        ({"macs_budget": float("inf")}, "--macs-budget inf"),
        ({"energy": 0.9, "macs_budget": 0.5}, "exclude each other"),
    ],
)
def test_values_that_mean_nothing_are_refused(dial: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RankDial(**dial)  # type: ignore[arg-type]


def test_a_model_without_pairs_is_told(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,3,8,8] x, float[4,3,3,3] w) => (float[1,4,8,8] y) { y = Conv<pads = [1,1,1,1]>(x, w) }",
        w=np.ones((4, 3, 3, 3), np.float32),
    )
    with pytest.raises(UsageError, match="No pair of convolutions"):
        choose_ranks(model, {}, RankDial(energy=0.9))
