"""What learning gained, and whether it was kept."""

from __future__ import annotations

import dataclasses

__all__ = ["LearnReport", "learn_line"]


@dataclasses.dataclass(frozen=True)
class LearnReport:
    """The closed form ("before") against what was learned ("after").

    steps: updates that were done; 0 where nothing could be learned.
    learning_samples, held_samples: how many calibration samples were learned from and held back from that.
    held_before_db, held_after_db: SQNR of the Q/DQ graph in ONNX Runtime against the original fp32 graph on the samples
        held back, pooled, of the worst output; None where it was not measured, or nothing differs.
    shifted_before_db, shifted_after_db: the same with less contrast, more brightness and noise.
    accepted: whether the learned values are in the int8 graph.
    reason: why not; empty where they are.
    not_learned: quantisation schemes whose graphs stay in the closed form.
    """

    steps: int
    learning_samples: int
    held_samples: int
    held_before_db: float | None
    held_after_db: float | None
    shifted_before_db: float | None
    shifted_after_db: float | None
    accepted: bool
    reason: str = ""
    not_learned: tuple[str, ...] = ()


def learn_line(report: LearnReport) -> str:
    """The report in one line of plain text."""
    others = "".join(f"; the graph of {scheme} activations is not learned" for scheme in report.not_learned)
    return f"{_learned(report)}{others}"


def _learned(report: LearnReport) -> str:
    if not report.steps:
        return f"nothing learned: {report.reason}"
    held = _change(report.held_before_db, report.held_after_db)
    moved = _change(report.shifted_before_db, report.shifted_after_db)
    figures = f"{held} on {report.held_samples} images held back, {moved} on shifted copies of them"
    if report.accepted:
        return f"learned in {report.steps} steps: {figures}"
    return f"learned in {report.steps} steps and not kept, {report.reason}: {figures}"


def _change(before: float | None, after: float | None) -> str:
    return " → ".join("exact" if value is None else f"{value:.2f}" for value in (before, after)) + " dB"
