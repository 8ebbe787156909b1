"""Task metrics over golden cases, by name; of every one, higher is better.

Each takes the outputs and the targets of all cases, stacked on axis 0, and returns the mean over cases.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError, UsageError

__all__ = ["Metric", "dice", "get_metric", "iou", "metric_names", "psnr", "top1"]

Array = npt.NDArray[Any]
Metric = Callable[[Array, Array], float]


def dice(logits: Array, target: Array) -> float:
    """Dice of the mask ``logits > 0``: ``(2 I + 1) / (A + B + 1)``, 1 where both masks are empty."""
    found, wanted = _masks(logits, target)
    return float(np.mean((2 * (found & wanted).sum(1) + 1) / (found.sum(1) + wanted.sum(1) + 1)))


def iou(logits: Array, target: Array) -> float:
    """Intersection over union of the mask ``logits > 0``: ``(I + 1) / (U + 1)``, 1 where both masks are empty."""
    found, wanted = _masks(logits, target)
    return float(np.mean(((found & wanted).sum(1) + 1) / ((found | wanted).sum(1) + 1)))


def psnr(images: Array, target: Array) -> float:
    """Peak signal-to-noise ratio in dB for a data range of 1; of 100 dB where a case is met exactly."""
    error = _flat(images) - _flat(_fit(target, images))
    return float(np.mean(-10 * np.log10(np.maximum(np.mean(error**2, axis=1), 1e-10))))


def top1(scores: Array, target: Array) -> float:
    """Share of rows whose largest score (last axis) is that of the target class."""
    labels = np.asarray(target).reshape(-1)
    best = scores.reshape(-1, scores.shape[-1]).argmax(-1)
    if labels.shape != best.shape:
        raise DataError(f"The targets are {labels.size} labels, the outputs are {best.size} rows of scores.")
    return float(np.mean(best == labels))


_METRICS: dict[str, Metric] = {"dice": dice, "iou": iou, "psnr": psnr, "top1": top1}


def metric_names() -> list[str]:
    """The metrics that a bundle can name."""
    return list(_METRICS)


def get_metric(name: str) -> Metric:
    """A metric by name.

    Raises:
        UsageError: no such metric; near names are suggested.
    """
    try:
        return _METRICS[name]
    except KeyError:
        near = difflib.get_close_matches(name, _METRICS, n=2, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(_METRICS)}."
        raise UsageError(f"No metric is called {name!r}.", hint) from None


def _masks(logits: Array, target: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    return _flat(logits) > 0, _flat(_fit(target, logits)) > 0.5


def _fit(target: Array, outputs: Array) -> Array:
    if len(target) != len(outputs) or target.size != outputs.size:
        raise DataError(f"The targets have shape {list(target.shape)}, the outputs {list(outputs.shape)}.")
    return target


def _flat(array: Array) -> npt.NDArray[np.float64]:
    return np.asarray(array, np.float64).reshape(len(array), -1)
