"""What a reproduction is: a claim of the literature, what we did about it, and an honest verdict."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Callable, Iterator, Sequence

from edgeconv.errors import UsageError

__all__ = [
    "HOLDS",
    "IN_PART",
    "NOT",
    "UNAVAILABLE",
    "Experiment",
    "Outcome",
    "Outcomes",
    "Row",
    "get_experiments",
    "register",
    "run_experiments",
    "verdict",
]

Run = Callable[[], "list[Row]"]
HOLDS, IN_PART, NOT = "holds", "holds in part", "does not hold"
UNAVAILABLE = "cannot be run here"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; numbers are in the words of the claim."""

    claim: str
    condition: str
    expected: str
    found: str
    verdict: str


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A named way to reproduce one headline result; `slow` ones train for minutes."""

    name: str
    headline: str
    slow: bool
    run: Run


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The rows of one experiment and how long it took."""

    name: str
    headline: str
    seconds: float
    rows: list[Row]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Everything that was run."""

    outcomes: list[Outcome]


def verdict(good: bool) -> str:
    """The two plain verdicts."""
    return HOLDS if good else NOT


_EXPERIMENTS: dict[str, Experiment] = {}


def register(name: str, headline: str, *, slow: bool = False) -> Callable[[Run], Run]:
    """Decorate the function that runs an experiment."""

    def decorate(run: Run) -> Run:
        _EXPERIMENTS[name] = Experiment(name, headline, slow, run)
        return run

    return decorate


def get_experiments(names: Sequence[str] = (), *, slow: bool = True) -> list[Experiment]:
    """The experiments of these names, or all (without the slow ones where `slow` is false).

    Raises:
        UsageError: no such experiment; near names are suggested.
    """
    for name in names:
        if name not in _EXPERIMENTS:
            near = difflib.get_close_matches(name, _EXPERIMENTS, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(_EXPERIMENTS)}."
            raise UsageError(f"No experiment is called {name!r}.", hint)
    chosen = [_EXPERIMENTS[name] for name in names] if names else list(_EXPERIMENTS.values())
    return chosen if names else [experiment for experiment in chosen if slow or not experiment.slow]


def run_experiments(
    experiments: Sequence[Experiment], progress: Callable[[int, int, str], None] = lambda done, total, name: None
) -> Iterator[Outcome]:
    """Run one after the other; each is seeded by itself."""
    for index, experiment in enumerate(experiments):
        progress(index, len(experiments), experiment.name)
        began = time.monotonic()
        rows = experiment.run()
        yield Outcome(experiment.name, experiment.headline, time.monotonic() - began, rows)
    progress(len(experiments), len(experiments), "done")
