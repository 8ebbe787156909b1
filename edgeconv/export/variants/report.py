"""What was found out about other graphs of a bundle's model."""

from __future__ import annotations

import dataclasses

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.export.choices import Choices

__all__ = ["GraphTrial", "GraphTuning", "VariantResult"]


@dataclasses.dataclass(frozen=True)
class VariantResult:
    """An artefact of a variant beside the bundle's own; `bytes` is None where it was not made.

    `ratio` is that of the median latencies, None where it was not measured; `estimate` is what the cost model says.
    `sqnr_db` is that of the outputs against PyTorch's, `base_sqnr_db` the own artefact's: of the runtime's outputs
    where it was measured, else of the Q/DQ graph's.  `objection` says why it may not be used, empty where it may.
    """

    runtime: str
    precision: str
    bytes: int | None
    base_bytes: int
    ratio: Ratio | None
    estimate: float
    sqnr_db: float | None
    base_sqnr_db: float | None
    objection: str = ""

    @property
    def label(self) -> str:
        """Runtime and precision."""
        return f"{self.runtime} {self.precision}"


@dataclasses.dataclass(frozen=True)
class GraphTrial:
    """One variant: what is different in it, in every artefact; `remark` is why it was taken or not."""

    name: str
    choices: Choices
    results: list[VariantResult]
    taken: bool
    remark: str


@dataclasses.dataclass(frozen=True)
class GraphTuning:
    """The variants in the order in which they were tried, and the choices that an export should be made with.

    `basis` says what the decision rests on: the target that was measured, or the cost model.
    """

    basis: str
    trials: list[GraphTrial]
    choices: Choices

    @property
    def changed(self) -> bool:
        """Whether another graph than the bundle's is better."""
        return any(trial.taken for trial in self.trials)
