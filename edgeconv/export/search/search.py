"""Which choices make the int8 graph best: one thing after the other, kept only when it wins on images held back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from edgeconv.errors import ExportError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Sample
from edgeconv.export.prepare import PreparedGraph
from edgeconv.export.search.cost import LATENCY_BASIS
from edgeconv.export.search.report import Candidate, SearchReport
from edgeconv.export.search.tensor_ranges import refine_tensor_ranges
from edgeconv.export.search.trials import TIE_DB, Figures, Trials, finite
from edgeconv.export.settle_ranges import settle_ranges
from edgeconv.manifest import Port

__all__ = ["search_choices"]

_LATENCY_BUDGET = 1.05  # of the start's
_RANGES = ("percentile", "percentile-99.999", "entropy", "minmax")
_STRENGTHS = (0.0, 0.25, 0.5)

_NOTHING = Figures(-math.inf, -math.inf)

Progress = Callable[[str], None]


def search_choices(
    prepared: PreparedGraph,
    ports: Sequence[Port],
    samples: Iterable[Sample],
    start: Choices,
    progress: Progress = lambda words: None,
) -> tuple[Choices, SearchReport]:
    """Choices that are better than `start` by 0.2 dB or more on images held back, or `start` itself.

    In this order: factor pairs at full resolution merged to dense ones, the greatest gain for the estimated time first,
    while the graph takes at most 5 % longer; the range estimator; the gauge of factor pairs; the strength of
    equalisation; ranges of single tensors. What is decided stays decided. A candidate must not lose 0.2 dB on the
    shifted copies of the images either. Where peaks are the answer (`settle_ranges`), ranges hold them: on images held
    back chance would decide.

    Args:
        prepared: the graph to quantise.
        ports: its inputs.
        samples: raw calibration samples, of which a part is held back; see `Trials`.
        start: what an export does without a search.
        progress: called with what is tried.

    Raises:
        ExportError: the start cannot be quantised.
        DataError: there is no sample.
    """
    search = _Search(Trials(prepared, ports, samples), start, progress)
    search.merge_pairs(_full_resolution_pairs(search.trials, start))
    peaks_count = search.settle_ranges(ports)
    if not peaks_count:
        search.choose("ranges", {name: {"ranges": name} for name in _RANGES})
    search.choose("gauge", {"factors as they are": {"balancing": False}, "balanced": {"balancing": True}})
    search.choose("equalisation", {f"strength {value:g}": {"equalisation": value} for value in _STRENGTHS})
    if not peaks_count:
        search.move_ranges()
    return search.best, search.report()


@dataclasses.dataclass(frozen=True)
class _Tried:
    choices: Choices
    figures: Figures
    latency_ratio: float
    index: int


class _Search:
    """The best choices so far, and what was tried."""

    def __init__(self, trials: Trials, start: Choices, progress: Progress) -> None:
        self.trials = trials
        self._progress = progress
        self._candidates: list[Candidate] = []
        self._start_ms = trials.latency_ms(start)
        progress("as an export does it")
        self._figures = trials.measure(start)
        self.best = start
        self._keep(self._note("start", "as an export does it", start, self._figures, 1.0))

    def merge_pairs(self, names: Sequence[str]) -> None:
        """Merge pairs one by one, the best gain for the time first, as long as each still helps."""
        before = self.best
        alone = [self._try("merge", name, {"merged_pairs": (*before.merged_pairs, name)}) for name in names]
        for tried in sorted(filter(self._wins, alone), key=self._gain_for_time, reverse=True):
            if self.best is not before:  # gains do not add up: measure together
                self._mark(tried, remark="wins alone, measured again with what is merged")
                name = tried.choices.merged_pairs[-1]
                tried = self._try("merge", name, {"merged_pairs": (*self.best.merged_pairs, name)})
            if self._wins(tried):
                self._keep(tried)

    def settle_ranges(self, ports: Sequence[Port]) -> bool:
        """Take ranges that hold peaks where the largest outputs ask for them; returns whether they do."""
        calibrated = self.trials.calibrated(self.best)
        settled = settle_ranges(calibrated.model, calibrated.statistics, self.trials.calibration, ports, self.best)
        if settled == self.best:
            return False
        self._keep(self._try("ranges", f"{settled.ranges}, for the largest outputs", {"ranges": settled.ranges}))
        return True

    def choose(self, step: str, alternatives: dict[str, dict[str, object]]) -> None:
        """Try each of `alternatives` (name to changed fields) and keep the best one if it wins."""
        changes = {name: fields for name, fields in alternatives.items() if self._changed(fields) != self.best}
        winners = list(filter(self._wins, [self._try(step, name, fields) for name, fields in changes.items()]))
        for place, tried in enumerate(sorted(winners, key=lambda tried: -tried.figures.sqnr_db)):
            if place:
                self._mark(tried, remark="another one gains more")
            else:
                self._keep(tried)

    def move_ranges(self) -> None:
        """Move ranges of single tensors, all of them together one candidate."""
        self._progress("ranges of single tensors")
        moved = refine_tensor_ranges(self.trials, self.best)
        if moved != self.best.tensor_ranges:
            tried = self._try("tensor ranges", f"{len(moved)} tensors", {"tensor_ranges": moved})
            if self._wins(tried):
                self._keep(tried)

    def report(self) -> SearchReport:
        """What was tried."""
        counts = len(self.trials.calibration), self.trials.held_samples
        return SearchReport(tuple(self._candidates), *counts, LATENCY_BASIS)

    def _changed(self, fields: dict[str, object]) -> Choices:
        return dataclasses.replace(self.best, **fields)  # type: ignore[arg-type]  # fields of Choices, by its callers

    def _try(self, step: str, name: str, fields: dict[str, object]) -> _Tried:
        choices = self._changed(fields)
        self._progress(f"{step}: {name}")
        try:
            figures = self.trials.measure(choices)
        except ExportError as error:
            return self._note(step, name, choices, _NOTHING, math.inf, str(error))
        return self._note(step, name, choices, figures, self.trials.latency_ms(choices) / self._start_ms)

    def _note(self, step: str, name: str, choices: Choices, figures: Figures, ratio: float, remark: str = "") -> _Tried:
        sqnr, moved, time = map(finite, (figures.sqnr_db, figures.shifted_db, ratio))
        self._candidates.append(Candidate(step, name, sqnr, moved, time, chosen=False, remark=remark))
        return _Tried(choices, figures, ratio, len(self._candidates) - 1)

    def _wins(self, tried: _Tried) -> bool:
        """Whether the choices are better than the best ones; if not, the candidate gets a remark."""
        remark = ""
        if tried.figures.sqnr_db < self._figures.sqnr_db + TIE_DB:
            remark = f"no gain of {TIE_DB:g} dB"
        elif tried.figures.shifted_db <= self._figures.shifted_db - TIE_DB:
            remark = "loses on shifted images"
        elif tried.latency_ratio > _LATENCY_BUDGET:
            remark = f"takes more than {_LATENCY_BUDGET:g} of the time"
        if remark:
            self._mark(tried, remark=self._candidates[tried.index].remark or remark)
        return not remark

    def _gain_for_time(self, tried: _Tried) -> float:
        return (tried.figures.sqnr_db - self._figures.sqnr_db) / max(tried.latency_ratio - 1.0, 1e-4)

    def _keep(self, tried: _Tried) -> None:
        self.best, self._figures = tried.choices, tried.figures
        self._mark(tried, chosen=True)

    def _mark(self, tried: _Tried, **fields: str | bool) -> None:
        self._candidates[tried.index] = dataclasses.replace(self._candidates[tried.index], **fields)  # type: ignore[arg-type]


def _full_resolution_pairs(trials: Trials, choices: Choices) -> list[str]:
    """The pairs that compute as many pixels as any convolution does: what is rounded further down costs little."""
    from edgeconv.graph import static_shape
    from edgeconv.rewrite import factor_pairs

    graph = trials.calibrated(choices).model.graph
    finest = max((math.prod(static_shape(node.outputs[0])[2:]) for node in graph if node.op_type == "Conv"), default=0)
    return [pair.name for pair in factor_pairs(graph) if pair.pixels == finest]
