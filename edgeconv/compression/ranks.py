"""Which rank each layer gets: by the energy it keeps, or by a budget shared between all layers."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError

__all__ = ["Spectrum", "distortion", "ranks_by_budget", "ranks_by_energy"]

_LEAST_KEPT = 1e-12


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """What a choice of rank depends on.

    `lost[r]` is the share of the layer's output energy that rank r loses, `lost[0]` is 1.  Ranks above `largest_rank`
    cost as much as the dense kernel; None stands for it everywhere below.
    """

    lost: npt.NDArray[np.float64]
    largest_rank: int
    dense_macs: int
    macs_per_rank: int

    def macs(self, rank: int | None) -> int:
        """Multiply-accumulates at this rank."""
        return self.dense_macs if rank is None else rank * self.macs_per_rank

    def allowed(self, multiple: int) -> list[int]:
        """Ranks that may be chosen, the largest first: multiples, and the largest one where it is below them all."""
        steps = list(range(multiple, self.largest_rank + 1, multiple)) or [self.largest_rank]
        return steps[::-1]


def ranks_by_energy(spectra: Sequence[Spectrum], energy: float, multiple: int = 1) -> list[int | None]:
    """Of each layer the smallest rank that keeps a share of at least `energy`; None where none below break-even does.

    Raises:
        UsageError: `energy` is not between 0 and 1.
    """
    if not 0 < energy <= 1:
        raise UsageError(f"An energy of {energy} was asked for; it is a share, more than 0 and at most 1.")
    chosen: list[int | None] = []
    for spectrum in spectra:
        fitting = [r for r in spectrum.allowed(multiple) if spectrum.lost[r] <= 1 - energy + 1e-12]
        chosen.append(min(fitting) if fitting else None)
    return chosen


def ranks_by_budget(spectra: Sequence[Spectrum], budget: float, multiple: int = 1) -> list[int | None]:
    """Ranks whose multiply-accumulates add up to at most `budget` of the dense ones, losing as little as possible.

    Greedy: starting dense, the step with the least distortion for each multiply-accumulate saved is taken next.

    Raises:
        UsageError: `budget` is not between 0 and 1, or cannot be met even at the lowest ranks.
    """
    if not 0 < budget <= 1:
        raise UsageError(f"A budget of {budget} was asked for; it is a share, more than 0 and at most 1.")
    total = sum(spectrum.dense_macs for spectrum in spectra)
    ladders: list[list[int | None]] = [[None, *_hull(spectrum, multiple)] for spectrum in spectra]
    position = [0] * len(spectra)
    spent = total
    queue: list[tuple[float, int]] = []
    for index in range(len(spectra)):
        _push(queue, spectra[index], ladders[index], 0, index)
    while spent > budget * total:
        if not queue:
            raise UsageError(
                f"A budget of {budget:.2f} of the multiply-accumulates cannot be met; "
                f"the lowest ranks take {spent / total:.2f}.",
                "Ask for more, or allow ranks that are no multiples.",
            )
        _, index = heapq.heappop(queue)
        ladder, at = ladders[index], position[index]
        spent += spectra[index].macs(ladder[at + 1]) - spectra[index].macs(ladder[at])
        position[index] = at + 1
        _push(queue, spectra[index], ladder, at + 1, index)
    return [ladder[at] for ladder, at in zip(ladders, position, strict=True)]


def distortion(spectrum: Spectrum, rank: int | None) -> float:
    """``-log`` of the share of energy kept: what a chain of layers keeps is about the product of what each keeps."""
    return 0.0 if rank is None else -math.log(max(1 - float(spectrum.lost[rank]), _LEAST_KEPT))


def _push(queue: list[tuple[float, int]], spectrum: Spectrum, ladder: list[int | None], at: int, index: int) -> None:
    if at + 1 < len(ladder):
        saved = spectrum.macs(ladder[at]) - spectrum.macs(ladder[at + 1])
        heapq.heappush(
            queue, ((distortion(spectrum, ladder[at + 1]) - distortion(spectrum, ladder[at])) / saved, index)
        )


def _hull(spectrum: Spectrum, multiple: int) -> list[int]:
    """The ranks on the lower convex hull of distortion against work saved: on it greedy steps are optimal."""
    hull: list[int | None] = [None]
    for rank in spectrum.allowed(multiple):
        while len(hull) > 1 and _slope(spectrum, hull[-2], hull[-1]) >= _slope(spectrum, hull[-1], rank):
            hull.pop()
        hull.append(rank)
    return [rank for rank in hull if rank is not None]


def _slope(spectrum: Spectrum, start: int | None, end: int | None) -> float:
    saved = spectrum.macs(start) - spectrum.macs(end)
    return (distortion(spectrum, end) - distortion(spectrum, start)) / max(saved, 1)
