"""What was tried to make an export better, each with its figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

__all__ = ["Candidate", "SearchReport"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Choices that were tried.

    step: what was being decided; "start" for what an export does without a search.
    name: what is different from the choices that were the best by then.
    sqnr_db: of the Q/DQ graph against the fp32 graph, pooled over the images held back, of the worst output; None
        where the graph could not be made, or nothing differs.
    shifted_db: the same with less contrast, more brightness and noise.
    latency_ratio: estimated, over that of the start; None where the graph could not be made.
    chosen: whether the choices were kept.
    remark: why not, where another figure than `sqnr_db` decided.
    """

    step: str
    name: str
    sqnr_db: float | None
    shifted_db: float | None
    latency_ratio: float | None
    chosen: bool
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class SearchReport:
    """`candidates` in the order in which they were tried.

    calibration_samples, held_samples: how many images the candidates were calibrated with and measured on.
    latency_basis: what the latency ratios rest on.
    """

    candidates: tuple[Candidate, ...]
    calibration_samples: int
    held_samples: int
    latency_basis: str

    @property
    def kept(self) -> Iterator[Candidate]:
        """The start and every candidate that made it better, in order."""
        return (candidate for candidate in self.candidates if candidate.chosen)

    @property
    def gain_db(self) -> float:
        """SQNR of what was chosen over that of the start, on the images held back."""
        figures = [candidate.sqnr_db for candidate in self.kept if candidate.sqnr_db is not None]
        return figures[-1] - figures[0] if figures else 0.0
