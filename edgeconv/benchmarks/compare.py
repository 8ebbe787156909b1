"""Two run records side by side: a bootstrap interval of the ratio of medians, not a bare ratio."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeconv.errors import RecordError
from edgeconv.records import Result, RunRecord

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Comparison", "ComparisonRow", "compare_runs", "comparison_table"]

_RESAMPLES = 2000
_CONFIDENCE = 0.99
_SEED = 0
_WORSE = ("slower", "missing", "newly invalid")


@dataclasses.dataclass(frozen=True)
class ComparisonRow:
    """One artefact: `ratio` is candidate / base of the median latency, with its interval; None where not measured."""

    runtime: str
    precision: str
    verdict: str  # "faster" | "slower" | "same" | "can't tell" | "missing" | "new" | "newly invalid" | "invalid"
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All artefacts of either record."""

    model: str
    rows: list[ComparisonRow]

    @property
    def worse(self) -> bool:
        """Whether an artefact got slower, vanished or stopped being valid."""
        return any(row.verdict in _WORSE for row in self.rows)


def compare_runs(base: RunRecord, candidate: RunRecord, *, min_effect: float = 0.05) -> Comparison:
    """Compare the median latencies of two runs of the same model, artefact by artefact.

    The verdict is "slower" or "faster" when the whole 99 % bootstrap interval of the ratio lies beyond
    1 ± `min_effect`, "same" when it lies within, else "can't tell".

    Raises:
        RecordError: the records are of different models, or only one is emulated.
    """
    if base.model != candidate.model:
        raise RecordError(f"The runs are of different models: {base.model} and {candidate.model}.")
    if (base.host.emulated, base.host.clock) != (candidate.host.emulated, candidate.host.clock):
        raise RecordError("One run is emulated and the other is not; their latencies cannot be compared.")
    before, after = ({(r.runtime, r.precision): r for r in record.results} for record in (base, candidate))
    keys = list(dict.fromkeys([*before, *after]))
    return Comparison(base.model, [_row(key, before.get(key), after.get(key), min_effect) for key in keys])


def comparison_table(comparison: Comparison) -> Table:
    """The comparison for a terminal."""
    from rich.table import Table

    colours = {"faster": "green", "slower": "red", "missing": "red", "newly invalid": "red"}
    table = Table(title=f"{comparison.model}: candidate / base", box=None, header_style="bold")
    for column in ("runtime", "precision", "verdict", "median ratio", "99 % interval"):
        table.add_column(column, justify="right" if "ratio" in column or "%" in column else "left")
    for row in comparison.rows:
        colour = colours.get(row.verdict)
        verdict = f"[{colour}]{row.verdict}[/]" if colour else row.verdict
        interval = "–" if row.ratio_low is None else f"{row.ratio_low:.3f} … {row.ratio_high:.3f}"
        table.add_row(row.runtime, row.precision, verdict, "–" if row.ratio is None else f"{row.ratio:.3f}", interval)
    return table


def _row(key: tuple[str, str], before: Result | None, after: Result | None, min_effect: float) -> ComparisonRow:
    def without_ratio(verdict: str) -> ComparisonRow:
        return ComparisonRow(*key, verdict, None, None, None)

    if after is None:
        return without_ratio("missing")
    if before is None:
        return without_ratio("new")
    if not after.valid:
        return without_ratio("newly invalid" if before.valid else "invalid")
    if not before.valid:
        return without_ratio("new")
    ratios = _bootstrap_ratios(before.latency_ns.samples, after.latency_ns.samples)
    low, high = (float(q) for q in np.quantile(ratios, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2]))
    ratio = float(np.median(after.latency_ns.samples) / np.median(before.latency_ns.samples))
    if low > 1 + min_effect:
        verdict = "slower"
    elif high < 1 - min_effect:
        verdict = "faster"
    elif low >= 1 - min_effect and high <= 1 + min_effect:
        verdict = "same"
    else:
        verdict = "can't tell"
    return ComparisonRow(*key, verdict, ratio, low, high)


def _bootstrap_ratios(before: list[int], after: list[int]) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(_SEED)

    def medians(samples: list[int]) -> npt.NDArray[np.float64]:
        values = np.asarray(samples, np.float64)
        return np.asarray(np.median(rng.choice(values, (_RESAMPLES, len(values))), axis=1), np.float64)

    ratios: npt.NDArray[np.float64] = medians(after) / medians(before)
    return ratios
