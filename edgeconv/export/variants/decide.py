"""Which variants are better: a rule for what was measured, and the same for what a cost model says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.export.variants.report import VariantResult

__all__ = ["MIN_GAIN", "decide", "gain"]

MIN_GAIN = 0.03  # less is not worth another graph


def decide(results: Sequence[VariantResult], *, exact: bool = False) -> tuple[bool, str]:
    """Whether a variant is better, and why or why not.

    It is where it is certainly faster in one artefact by 3 % or more, certainly slower in none, and may be used in all.
    Without measured ratios the estimates decide alike.

    Args:
        results: one for each artefact that was compared.
        exact: whether ratios have no noise.
    """
    if not results:
        return False, "nothing of it could be compared"
    objections = [f"{result.label}: {result.objection}" for result in results if result.objection]
    if objections:
        return False, "; ".join(objections)
    faster = [result for result in results if _is_faster(result, exact)]
    slower = [result for result in results if _is_slower(result, exact)]
    if slower:
        return False, f"slower in {_labels(slower)}"
    if faster:
        return True, f"faster in {_labels(faster)}"
    made = [(result.bytes, result.base_bytes) for result in results if result.bytes is not None]
    saved = 1 - sum(own for own, _ in made) / sum(base for _, base in made) if made else 0.0
    smaller = f", but takes {saved:.0%} fewer bytes" if saved >= MIN_GAIN else ""
    return False, f"not certainly faster{smaller}"


def gain(results: Sequence[VariantResult]) -> float:
    """How much faster it is over all artefacts: minus the mean logarithm of the ratios."""
    ratios = [r.estimate if r.ratio is None else r.ratio.value for r in results]
    return -sum(map(math.log, ratios)) / len(ratios) if ratios else -math.inf


def _is_faster(result: VariantResult, exact: bool) -> bool:
    ratio = _ratio(result)
    return ratio.below(MIN_GAIN) or (exact and ratio.value <= 1 / (1 + MIN_GAIN))


def _is_slower(result: VariantResult, exact: bool) -> bool:
    ratio = _ratio(result)
    return ratio.beyond(MIN_GAIN) or (exact and ratio.value >= 1 + MIN_GAIN)


def _ratio(result: VariantResult) -> Ratio:
    return result.ratio or Ratio(result.estimate, result.estimate, result.estimate)


def _labels(results: Sequence[VariantResult]) -> str:
    return ", ".join(f"{result.label} ({_ratio(result).value:.3f})" for result in results)
