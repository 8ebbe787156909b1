"""How far factor pairs are truncated: by the energy that each keeps, or by a budget of multiply-accumulates for all."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeconv.errors import UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.executor import Array
from edgeconv.export.graphs import Improve, calibration_samples
from edgeconv.export.macs import count_macs
from edgeconv.export.prepare import PreparedGraph
from edgeconv.export.subject import Subject
from edgeconv.manifest import Port

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.compression.ranks import Spectrum
    from edgeconv.export.search.report import SearchReport

__all__ = ["RankDial", "choose_ranks", "with_ranks"]

_SAMPLES = 4  # moments settle after a few images


@dataclasses.dataclass(frozen=True)
class RankDial:
    """What the user asks for: one of the two, or neither.

    energy: share of its output energy that each pair keeps at least, more than 0 and at most 1.
    macs_budget: of the whole model: a share of its multiply-accumulates up to 1, a number of them above.
    multiple: what a rank is rounded up to; a pair that has no more channels than this is left alone.

    Raises:
        UsageError: both are given, or a value means nothing.
    """

    energy: float | None = None
    macs_budget: float | None = None
    multiple: int = 8

    def __post_init__(self) -> None:
        if self.energy is not None and self.macs_budget is not None:
            raise UsageError("--rank-energy and --macs-budget exclude each other.", "Give one of them.")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise UsageError(
                f"--rank-energy {self.energy:g} means nothing.", "Give a share, more than 0 and at most 1, like 0.99."
            )
        if self.macs_budget is not None and not 0 < self.macs_budget < math.inf:
            raise UsageError(
                f"--macs-budget {self.macs_budget:g} means nothing.",
                "Give a share of the model's multiply-accumulates, like 0.7, or their number, like 2.5e8.",
            )

    @property
    def is_set(self) -> bool:
        """Whether anything is asked for."""
        return self.energy is not None or self.macs_budget is not None


def with_ranks(dial: RankDial, subject: Subject, ports: Sequence[Port], improve: Improve | None) -> Improve | None:
    """`improve`, with the ranks that `dial` asks for chosen before.

    Raises:
        UsageError: there are no calibration data; and when it is called, what `choose_ranks` raises, or ranks that a
            recipe has chosen already.
    """
    if not dial.is_set:
        return improve
    if subject.calibration is None:
        raise UsageError("--rank-energy and --macs-budget weigh with data what is cut off.", "Give --calibration.")

    def choose(prepared: PreparedGraph, start: Choices) -> tuple[Choices, SearchReport | None]:
        from edgeconv.export.bottlenecks import collect_moments

        if start.ranks:
            raise UsageError("The recipe has chosen ranks already.", "Leave out --rank-energy and --macs-budget.")
        samples = itertools.islice(calibration_samples(subject, ports), _SAMPLES)
        moments = collect_moments(prepared.model, samples)
        choices = dataclasses.replace(start, ranks=choose_ranks(prepared.model, moments, dial))
        return (choices, None) if improve is None else improve(prepared, choices)

    return choose


def choose_ranks(model: ir.Model, moments: Mapping[str, Array], dial: RankDial) -> dict[str, int]:
    """The rank of each pair that is to be truncated, by its name; pairs that keep their rank are left out.

    Args:
        model: the fp32 graph.
        moments: of its bottlenecks about zero; see `collect_moments`.
        dial: what is asked for.

    Raises:
        UsageError: the graph has no pair, or the budget cannot be met even at the lowest ranks.
    """
    from edgeconv.compression.ranks import ranks_by_budget, ranks_by_energy
    from edgeconv.rewrite.truncate_pairs import find_pairs

    pairs = [pair for pair in find_pairs(model.graph, moments) if pair.rank > dial.multiple]
    if not pairs:
        raise UsageError(
            f"No pair of convolutions without anything between them has more than {dial.multiple} channels there.",
            "Make pairs of dense convolutions first: edgeconv compress.",
        )
    spectra = [_spectrum(pair.lost(), pair.first.node, pair.second.node) for pair in pairs]
    if dial.energy is not None:
        ranks = ranks_by_energy(spectra, dial.energy, dial.multiple)
    elif dial.macs_budget is not None:
        total = sum(count_macs(node) for node in model.graph)
        share = _share_of_pairs(spectra, total, dial)
        ranks = [None] * len(spectra) if share >= 1 else ranks_by_budget(spectra, share, dial.multiple)
    else:
        return {}
    return {pair.name: rank for pair, rank in zip(pairs, ranks, strict=True) if rank is not None}


def _spectrum(lost: Array, first: ir.Node, second: ir.Node) -> Spectrum:
    from edgeconv.compression.ranks import Spectrum

    rank = len(lost) - 1
    macs = count_macs(first) + count_macs(second)
    return Spectrum(lost, rank - 1, macs, macs // rank)


def _share_of_pairs(spectra: list[Spectrum], total: int, dial: RankDial) -> float:
    """The budget of the whole model as a share of what its pairs take."""
    asked = float(dial.macs_budget or 0)
    budget = asked * total if asked <= 1 else asked
    dense = sum(spectrum.dense_macs for spectrum in spectra)
    least = total - dense + sum(spectrum.macs(min(spectrum.allowed(dial.multiple))) for spectrum in spectra)
    if budget < least:
        raise UsageError(
            f"--macs-budget {asked:g} asks for {budget / 1e6:.4g} million multiply-accumulates of the model's "
            f"{total / 1e6:.4g}; its pairs at the lowest ranks (multiples of {dial.multiple}) leave {least / 1e6:.4g}.",
            f"Ask for {math.ceil(1000 * least / total) / 1000:g} or more.",
        )
    return (budget - (total - dense)) / dense
