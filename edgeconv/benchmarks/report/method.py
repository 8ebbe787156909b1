"""How each number was made, to be printed under the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from edgeconv.benchmarks.agent.percentiles import CONFIDENCE, minimum_samples
from edgeconv.records import RunRecord

__all__ = ["Note", "method_notes"]


@dataclasses.dataclass(frozen=True)
class Note:
    """A term and what it means."""

    term: str
    text: str


def method_notes(record: RunRecord) -> list[Note]:
    """The terms of the result table; the way memory was read and the task's metric come from `record` itself."""
    metrics = _distinct(result.task.name for result in record.results if result.task is not None)
    memory = _distinct(r.memory.method for r in record.results if r.memory.peak_rss_bytes is not None)
    notes = [
        Note(
            "Latency",
            "Time of one complete inference, each artefact alone in a fresh process, warm-up left out, no outlier "
            "removed. p90 is the time that nine in ten timed inferences did not exceed, p50 and p99 likewise. – stands "
            f"for too few samples: bounding them with {CONFIDENCE:.0%} confidence takes "
            f"{', '.join(f'{minimum_samples(percent)} (p{percent})' for percent in (50, 90, 99))}.",
        ),
        Note("Start", "load: from the file to a session that is ready. first: the first inference after it."),
        Note(
            "Memory",
            "added: resident memory of the process, peak minus baseline. "
            f"{'; '.join(memory) or 'unknown'}. 1 MB is 10⁶ bytes.",
        ),
        Note(
            "Drift",
            "Signal to quantisation noise ratio, SQNR = 10·log₁₀(Σ ref² / Σ (ref − x)²) over all golden cases; higher "
            "is closer, 20 dB is a tenfold smaller error. export: PyTorch to ONNX fp32. quantis.: ONNX fp32 to the "
            "Q/DQ graph computed in float. runtime: that reference to what the runtime returned. total: PyTorch to "
            "what the runtime returned. exact: identical outputs.",
        ),
        Note("Invalid", "✕ marks a number whose evidence does not hold; the reason stands below it. Do not quote it."),
    ]
    if metrics:
        task = Note("Task metric", f"{', '.join(metrics)} over the golden cases, change relative to PyTorch.")
        notes.insert(-1, task)
    return notes


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
