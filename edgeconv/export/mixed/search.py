"""Which operators to leave in float: the greatest gain on the worst cases first, then a step back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from edgeconv.export.mixed.candidates import Candidate
from edgeconv.export.search.trials import TIE_DB

__all__ = ["Accepted", "Appraiser", "SearchResult", "search"]

_OLD_DB = 1.0  # so much better than when it was made, and a ranking is out of date: errors hide behind each other
_TRIED = 4  # of the ranking, together with what is accepted already: gains of neighbours do not add up


class Appraiser(Protocol):
    """Judges graphs by the operators that they leave in float."""

    def worst_db(self, nodes: Collection[str]) -> float:
        """An estimate of the SQNR on the cases that are worst when everything is int8, in dB."""
        ...

    def seems_met(self, nodes: Collection[str]) -> bool:
        """Whether an estimate over all cases meets the target."""
        ...

    def effective(self, nodes: Collection[str]) -> frozenset[str]:
        """Those of `nodes` that really compute in float when no other does."""
        ...

    def is_met(self, nodes: Collection[str]) -> bool:
        """Whether the graph that would be exported meets the target."""
        ...


@dataclasses.dataclass(frozen=True)
class Accepted:
    """A candidate that was accepted, with those of its operators that are needed and that none before it brought."""

    candidate: Candidate
    operators: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """`met` is whether the target is reached; `dropped` are operators that the step back gave up again."""

    accepted: tuple[Accepted, ...]
    dropped: tuple[str, ...]
    met: bool

    @property
    def nodes(self) -> tuple[str, ...]:
        """All operators in float."""
        return tuple(name for accepted in self.accepted for name in accepted.operators)


def search(
    candidates: Sequence[Candidate],
    appraiser: Appraiser,
    macs: Mapping[str, int],
    progress: Callable[[str], None] = lambda words: None,
) -> SearchResult:
    """Accept candidates until the target is met, then give up every operator that it can do without.

    Args:
        candidates: what can be left in float.
        appraiser: judges.
        macs: multiply-accumulates by operator: of equal gains the cheaper is taken, and the step back begins with what
            gives back the most for what it loses.
        progress: called with what is tried.
    """
    everything = tuple(dict.fromkeys(name for candidate in candidates for name in candidate.operators))
    progress("everything in float")
    if not appraiser.is_met(everything):
        return SearchResult((), (), met=False)
    taken: set[str] = set()
    ranking = _ranked(candidates, taken, appraiser, macs, progress)
    reached_db = ranked_db = appraiser.worst_db(())
    accepted: list[Accepted] = []
    while True:
        left = [candidate for candidate in ranking if not taken.issuperset(candidate.operators)]
        if not left:
            break
        best, best_db = _best(left[:_TRIED], taken, reached_db, appraiser, macs)
        if best_db < reached_db + TIE_DB and reached_db >= ranked_db + _OLD_DB:  # what gained nothing then may now
            ranking = left = _ranked(left, taken, appraiser, macs, progress)
            ranked_db = reached_db
            best, best_db = _best(left[:_TRIED], taken, reached_db, appraiser, macs)
        reached_db = best_db
        new = tuple(name for name in best.operators if name not in taken)
        accepted.append(Accepted(best, new))
        taken.update(new)
        progress(f"{len(taken)} operators in float")
        if appraiser.seems_met(taken) and appraiser.is_met(taken):
            break
    return _step_back(accepted, appraiser, macs, progress)


def _ranked(
    candidates: Sequence[Candidate],
    taken: Collection[str],
    appraiser: Appraiser,
    macs: Mapping[str, int],
    progress: Callable[[str], None],
) -> list[Candidate]:
    """By the gain of each together with what is taken, the greatest first."""
    gains = {}
    for index, candidate in enumerate(candidates, start=1):
        progress(f"candidate {index} of {len(candidates)}")
        gains[candidate] = appraiser.worst_db({*taken, *candidate.operators})
    return sorted(candidates, key=lambda candidate: (-gains[candidate], _cost(candidate.operators, macs)))


def _best(
    candidates: Sequence[Candidate],
    taken: Collection[str],
    reached_db: float,
    appraiser: Appraiser,
    macs: Mapping[str, int],
) -> tuple[Candidate, float]:
    """Of a few, the best together with what is taken; of those that are as good, the cheapest. And its SQNR."""
    together = {candidate: appraiser.worst_db({*taken, *candidate.operators}) for candidate in candidates}
    best = max(together.values())
    margin_db = min(TIE_DB, max(0.0, best - reached_db) / 2)  # what gains next to nothing is not as good
    equal = [candidate for candidate in candidates if together[candidate] >= best - margin_db]
    chosen = min(equal, key=lambda c: _cost([name for name in c.operators if name not in taken], macs))
    return chosen, together[chosen]


def _cost(operators: Collection[str], macs: Mapping[str, int]) -> tuple[int, int]:
    return sum(macs[name] for name in operators), len(operators)


def _by_loss(
    kept: frozenset[str], appraiser: Appraiser, macs: Mapping[str, int], progress: Callable[[str], None]
) -> list[str]:
    """What loses the least for the multiplications that it gives back to int8 first; of equal losses the dearest."""
    reached_db, losses = appraiser.worst_db(kept), {}
    for index, name in enumerate(sorted(kept), start=1):
        progress(f"a step back, {index} of {len(kept)}")
        losses[name] = reached_db - appraiser.worst_db(appraiser.effective(kept - {name}))
    return sorted(losses, key=lambda name: (losses[name] / max(macs[name], 1), -macs[name], name))


def _step_back(
    accepted: list[Accepted], appraiser: Appraiser, macs: Mapping[str, int], progress: Callable[[str], None]
) -> SearchResult:
    """Drop what the estimate can do without; what the real graph then misses comes back, last dropped first."""
    kept = frozenset(name for one in accepted for name in one.operators)
    dropped: list[frozenset[str]] = []
    for name in _by_loss(kept, appraiser, macs, progress):
        rest = appraiser.effective(kept - {name})
        if name not in kept or not rest:
            continue
        progress(f"without {name}")
        if appraiser.seems_met(rest):
            dropped.append(kept - rest)
            kept = rest
    while dropped and not appraiser.is_met(kept):
        kept |= dropped.pop()
    needed = [
        dataclasses.replace(one, operators=tuple(name for name in one.operators if name in kept)) for one in accepted
    ]
    given_up = tuple(name for names in dropped for name in sorted(names))
    return SearchResult(tuple(one for one in needed if one.operators), given_up, met=appraiser.is_met(kept))
