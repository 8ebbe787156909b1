"""How each number was made, to be printed under the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from edgeconv.benchmarks.agent.percentiles import CONFIDENCE, minimum_samples
from edgeconv.benchmarks.report.units import metric
from edgeconv.records import RunRecord

__all__ = ["Note", "method_notes"]


@dataclasses.dataclass(frozen=True)
class Note:
    """A term and what it means."""

    term: str
    text: str


def method_notes(record: RunRecord) -> list[Note]:
    """The terms of the result table; the way memory was read and the task's metric come from `record` itself."""
    tasks = [result.task for result in record.results if result.task is not None]
    metrics = ", ".join(_distinct(f"{task.name}, {metric(task.torch)} in PyTorch," for task in tasks))
    memory = _distinct(r.memory.method for r in record.results if r.memory.peak_rss_bytes is not None)
    notes = [
        Note(
            "Latency",
            "Time of one complete inference in a fresh process, warm-up left out, no outlier removed. p90 is the time "
            "that nine in ten timed inferences did not exceed, the others likewise. ± is the half width of the "
            f"{CONFIDENCE:.0%} confidence interval, which the order of the samples gives whatever their distribution. "
            f"– stands for too few samples: bounding them takes {_needed()}.",
        ),
        Note("Start", "load: from the file to a session that is ready. first: the first inference after it."),
        Note(
            "Memory",
            "Resident memory of the process beyond its baseline. load: at the peak of loading the model. peak: at the "
            f"highest of loading and running. {'; '.join(memory) or 'How it was read is unknown'}. 1 MB is 10⁶ bytes.",
        ),
        Note(
            "Drift",
            "Signal to quantisation noise ratio, SQNR = 10·log₁₀(Σ ref² / Σ (ref − x)²) over all golden cases; higher "
            "is closer, 20 dB is a tenfold smaller error. export: PyTorch to ONNX fp32. quantis.: ONNX fp32 to the "
            "Q/DQ graph computed in float. runtime: that reference to what the runtime returned. total: PyTorch to "
            "what the runtime returned. exact: identical outputs.",
        ),
        Note(
            "Invalid",
            "✕ marks a time, or memory, whose evidence does not hold; the reason stands below it. Do not quote it. "
            "What was computed, drift and task metric, does not depend on how long it took.",
        ),
    ]
    rounds = max([len(result.latency_ns.rounds) for result in record.results], default=0)
    if rounds > 1:
        notes.insert(
            1,
            Note(
                "Rounds",
                f"Each artefact was timed in up to {rounds} fresh processes, taking turns with the others, so that a "
                "drift of the machine hits all alike. The samples of all rounds are pooled, none is averaged.",
            ),
        )
    if any(result.execution or result.state for result in record.results):
        ran = Note(
            "Ran",
            "as asked: part of the executed operators that ran on the provider, delegate and precision that were asked "
            "for. int8: part of an int8 artefact's multiply-accumulates that integer kernels computed. state: of "
            "the device before, during and after; clean: nothing throttled it and others left it alone.",
        )
        notes.insert(-1, ran)
    if metrics:
        task = Note("Task metric", f"{metrics} over the golden cases, change relative to PyTorch.")
        notes.insert(-1, task)
    return notes


def _needed() -> str:
    return ", ".join(f"{minimum_samples(percent)} (p{percent})" for percent in (50, 90, 95, 99))


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
