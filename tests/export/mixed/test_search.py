"""The search by itself, on a network whose errors add up: so every answer can be worked out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.mixed.candidates import Candidate
from edgeconv.export.mixed.search import search


@dataclasses.dataclass
class _Additive:
    """Each operator in int8 adds its noise. The target is an SQNR; `optimism` is by how much estimates are too good."""

    noise: Mapping[str, float]
    target_db: float
    optimism: float = 0.0

    def _db(self, nodes: Collection[str]) -> float:
        left = sum(noise for name, noise in self.noise.items() if name not in nodes) + 1e-9
        return -10 * math.log10(left)

    def worst_db(self, nodes: Collection[str]) -> float:
        return self._db(nodes) + self.optimism

    def seems_met(self, nodes: Collection[str]) -> bool:
        return self._db(nodes) + self.optimism >= self.target_db

    def effective(self, nodes: Collection[str]) -> frozenset[str]:
        return frozenset(nodes)

    def is_met(self, nodes: Collection[str]) -> bool:
        return self._db(nodes) >= self.target_db


def _single(names: Collection[str]) -> list[Candidate]:
    return [Candidate(name, "operator", (name,)) for name in names]


def test_the_noisiest_comes_first_and_no_more_than_needed() -> None:
    noise = {"a": 1e-5, "b": 1e-2, "c": 1e-3, "d": 1e-5}
    found = search(_single(noise), _Additive(noise, 25.0), dict.fromkeys(noise, 1))
    assert found.met
    assert found.nodes == ("b",)
    assert search(_single(noise), _Additive(noise, 35.0), dict.fromkeys(noise, 1)).nodes == ("b", "c")


def test_the_step_back_gives_up_what_a_group_brought_along() -> None:
    noise = {"a": 1e-4, "b": 1e-2, "c": 1e-4}
    group = Candidate("around b", "tensor", ("a", "b", "c"))
    found = search([group], _Additive(noise, 30.0), {"a": 5, "b": 1, "c": 9})
    assert found.nodes == ("b",)
    assert found.dropped == ("c", "a")  # the most expensive first
    assert found.accepted[0].candidate is group


def test_the_step_back_gives_up_first_what_loses_least_for_its_multiplications() -> None:
    noise = {"a": 1e-2, "b": 4e-4, "c": 5e-4, "rest": 1e-3}
    group = Candidate("around a", "tensor", ("a", "b", "c"))
    found = search([group], _Additive(noise, 28.0), {"a": 5, "b": 10, "c": 11})  # there is room for b or for c
    assert found.dropped == ("b",)


def test_what_an_estimate_gave_up_wrongly_comes_back() -> None:
    noise = {"a": 1e-3, "b": 1e-2, "c": 1e-5}
    group = Candidate("all", "tensor", ("a", "b", "c"))
    appraiser = _Additive(noise, 35.0, optimism=6.0)  # thinks that a is not needed
    assert appraiser.seems_met({"b"})
    found = search([group], appraiser, {"a": 5, "b": 1, "c": 9})
    assert found.met
    assert set(found.nodes) == {"a", "b"}
    assert found.dropped == ("c",)


def test_of_equal_gains_the_cheaper_is_taken() -> None:
    noise = {"a": 1e-2, "b": 1e-2}
    costs = {"a": 100, "b": 1}
    assert search(_single(noise), _Additive(noise, 19.0), costs).nodes == ("b",)


def test_what_gains_only_behind_others_is_found_when_nothing_else_gains() -> None:
    """The error of `late` hides that of `hidden`: alone neither says what both together are worth."""

    @dataclasses.dataclass
    class Hiding(_Additive):
        def _db(self, nodes: Collection[str]) -> float:
            covered = "hidden" in nodes and "late" not in nodes
            return super()._db(set(nodes) - {"hidden"} if covered else nodes) - covered

    noise = {"late": 3e-2, "hidden": 1e-2} | {f"little{i}": 1e-6 for i in range(9)}
    tried: list[str] = []
    found = search(_single(noise), Hiding(noise, 45.0), dict.fromkeys(noise, 1), tried.append)
    assert [one.candidate.name for one in found.accepted] == ["late", "hidden"]
    assert "2 operators in float" in tried
    assert "3 operators in float" not in tried


def test_what_gains_nothing_is_not_taken_for_being_cheap() -> None:
    noise = {"costly": 2e-3, "cheap": 1e-5, "rest": 1e-1}
    tried: list[str] = []
    found = search(_single(noise)[:2], _Additive(noise, 9.95), {"costly": 100, "cheap": 1}, tried.append)
    assert found.nodes == ("costly",)
    assert "2 operators in float" not in tried


def test_a_target_out_of_reach_is_known_at_once() -> None:
    noise = {"a": 1e-2, "b": 1e-2}
    tried: list[str] = []
    found = search(_single(noise), _Additive(noise, 100.0), dict.fromkeys(noise, 1), tried.append)
    assert not found.met
    assert found.accepted == ()
    assert tried == ["everything in float"]


@given(st.lists(st.floats(1e-6, 1e-1), min_size=1, max_size=7), st.floats(1, 80), st.sampled_from([0.0, 3.0]))
def test_the_target_is_met_and_no_operator_is_superfluous(
    noises: list[float], target_db: float, optimism: float
) -> None:
    noise = {f"n{index}": value for index, value in enumerate(noises)}
    names = list(noise)
    pairs = [Candidate(f"{a}-{b}", "tensor", (a, b)) for a, b in itertools.pairwise(names)]
    appraiser = _Additive(noise, target_db, optimism)
    found = search([*_single(names), *pairs], appraiser, {name: len(name) for name in names})
    assert found.met == appraiser.is_met(names)
    if not found.met:
        return
    assert appraiser.is_met(found.nodes)
    assert len(set(found.nodes)) == len(found.nodes)
    if optimism == 0 and len(found.nodes) > 1:
        assert not any(appraiser.is_met([n for n in found.nodes if n != name]) for name in found.nodes)
