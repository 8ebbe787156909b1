"""Task metrics over golden cases, by name; of every one, higher is better.

Each takes the outputs and the targets of all cases, stacked on axis 0.  Except for `auroc`, which pools all values, it
returns the mean over cases.  NumPy only: a host that benchmarks has neither torch nor SciPy.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError, UsageError
from edgeconv.user_code import describe_error, user_attribute

__all__ = [
    "Metric",
    "auroc",
    "dice",
    "get_metric",
    "iou",
    "is_user_code",
    "metric_names",
    "metric_of_bundle",
    "psnr",
    "ssim",
    "top1",
]

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


def auroc(scores: Array, target: Array) -> float:
    """Area under the ROC curve over all values of all cases: the Mann-Whitney statistic, a tie counts one half.

    A target is positive above 0.5.

    Raises:
        DataError: there is no positive or no negative target.
    """
    values, positive = _flat(scores).ravel(), _flat(_fit(target, scores)).ravel() > 0.5
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives:
        raise DataError(f"AUROC needs targets of both classes, found {positives} positive and {negatives} negative.")
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group.ravel()]  # equal values share the mean of their ranks, from 1
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def ssim(images: Array, target: Array) -> float:
    """Structural similarity of images in 0…1, the mean over cases and channels.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: an 11 x 11 Gaussian
    window of sigma 1.5, K1 = 0.01, K2 = 0.03, over the pixels whose whole window lies in the image.

    Raises:
        DataError: a side of the images is shorter than 11 pixels.
    """
    x, y = (_planes(array) for array in (images, _fit(target, images).reshape(images.shape)))
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x, variance_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_K[0] ** 2, _SSIM_K[1] ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(similarity.mean())


_SSIM_K = (0.01, 0.03)
_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
_METRICS: dict[str, Metric] = {"dice": dice, "iou": iou, "auroc": auroc, "top1": top1, "psnr": psnr, "ssim": ssim}


def metric_names() -> list[str]:
    """The metrics that are built in."""
    return list(_METRICS)


def is_user_code(spec: str) -> bool:
    """Whether `spec` names a function of the user's, `file.py:function` or `package.module:function`."""
    return ":" in spec


def get_metric(spec: str) -> Metric:
    """A metric by its built-in name, or a function of the user's: ``function(outputs, targets) -> float``.

    `spec` must come from the user, never from a file: code is imported.  See `metric_of_bundle`.

    Raises:
        UsageError: no such metric (near names are suggested), or the code cannot be imported.
    """
    if is_user_code(spec):
        return _user_metric(spec)
    try:
        return _METRICS[spec]
    except KeyError:
        near = difflib.get_close_matches(spec, _METRICS, n=2, cutoff=0.4)
        words = f"There are: {', '.join(_METRICS)}; yours is file.py:function or package.module:function."
        raise UsageError(
            f"No metric is called {spec!r}.", f"Did you mean {' or '.join(near)}?" if near else words
        ) from None


def metric_of_bundle(named: str | None, chosen: str | None) -> tuple[str, Metric] | None:
    """The metric that a bundle is judged by, with its name; None where there is none.

    A bundle can only name built-in metrics: opening it must not run code.  Its `file.py:function` counts when the user
    names a metric too.

    Args:
        named: by the bundle's manifest.
        chosen: by the user, instead.

    Raises:
        UsageError: no such metric, or the user's code cannot be imported.
    """
    spec = chosen if chosen is not None else named
    if spec is None or (chosen is None and is_user_code(spec)):
        return None
    return spec, get_metric(spec)


def _user_metric(spec: str) -> Metric:
    with user_attribute(spec, "metric", UsageError) as function:
        if not callable(function):
            raise UsageError(f"{spec} is no function, it is {type(function).__name__}.", _SIGNATURE)

    def metric(outputs: Array, targets: Array) -> float:
        try:
            value = float(function(outputs, targets))
        except Exception as error:  # the user's own code: whatever it raises is theirs to read
            raise DataError(f"The metric {spec} raised {describe_error(error)}.", _SIGNATURE) from error
        if not math.isfinite(value):
            raise DataError(f"The metric {spec} gave {value}, expected a finite number.", _SIGNATURE)
        return value

    return metric


_SIGNATURE = "A metric is function(outputs, targets) -> float: arrays of all cases on axis 0, higher is better."


def _masks(logits: Array, target: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    return _flat(logits) > 0, _flat(_fit(target, logits)) > 0.5


def _fit(target: Array, outputs: Array) -> Array:
    if len(target) != len(outputs) or target.size != outputs.size:
        raise DataError(f"The targets have shape {list(target.shape)}, the outputs {list(outputs.shape)}.")
    return target


def _flat(array: Array) -> npt.NDArray[np.float64]:
    return np.asarray(array, np.float64).reshape(len(array), -1)


def _planes(images: Array) -> npt.NDArray[np.float64]:
    """Every image plane on axis 0."""
    size = 2 * _SSIM_RADIUS + 1
    if images.ndim < 3 or min(images.shape[-2:]) < size:
        raise DataError(f"SSIM needs images of at least {size} x {size} pixels, the outputs are {list(images.shape)}.")
    return np.asarray(images, np.float64).reshape(-1, *images.shape[-2:])


def _smooth(planes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The Gaussian-weighted mean around each pixel whose window lies in the image."""
    offsets = np.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        length = planes.shape[axis] - 2 * _SSIM_RADIUS
        shifted = (planes.take(range(i, i + length), axis) * weight for i, weight in enumerate(weights))
        planes = np.sum(list(shifted), axis=0)
    return planes
