"""Moves the range of one tensor after the other to where the whole graph's output is nearest to the fp32 graph's.

What is best for a tensor is not best for the output: an estimator sees the values, not what becomes of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from edgeconv.export.choices import Choices
from edgeconv.export.search.trials import Images, Trials

__all__ = ["refine_tensor_ranges"]

_FACTORS = (0.85, 1.2)
_STEPS = 6  # at most, in the same direction
_LEAST_GAIN_DB = 0.03
_SAMPLES = 2  # of the calibration, and their shifted copies: else a range is narrowed to what these images need

Range = tuple[float, float]


def refine_tensor_ranges(trials: Trials, choices: Choices) -> dict[str, Range]:
    """Ranges for the tensors whose range is worth moving, and those that `choices` has already.

    Each range is narrowed by 15 % or widened by 20 % as long as the output's SQNR on two calibration images and their
    shifted copies grows by 0.03 dB. Weights and biases stay those of the graph as `choices` quantises it. The images
    held back are not used.

    Raises:
        ExportError: the int8 graph cannot be made.
    """
    from edgeconv.export.mixed.trials import make_trial

    calibrated = trials.calibrated(choices)
    images = Images(calibrated.model, [*trials.calibration[:_SAMPLES], *trials.shifted_calibration(_SAMPLES)])
    int8 = trials.quantise(choices).model
    moved: dict[str, Range] = dict(choices.tensor_ranges)

    def sqnr_db(ranges: dict[str, Range]) -> float:
        scheme = trials.scheme(dataclasses.replace(choices, tensor_ranges=ranges))
        trial = make_trial(calibrated.model, calibrated.statistics, scheme, int8, choices.float_nodes)
        return images.sqnr_db(trial)

    best = sqnr_db(moved)
    for name, start in _ranges(trials, choices):
        for factor in _FACTORS:
            low, high = start
            steps = 0
            while steps < _STEPS:
                low, high = low * factor, high * factor
                found = sqnr_db({**moved, name: (low, high)})
                if not found > best + _LEAST_GAIN_DB:
                    break
                best, moved[name], steps = found, (low, high), steps + 1
            if steps:
                break
    return moved


def _ranges(trials: Trials, choices: Choices) -> Iterator[tuple[str, Range]]:
    """The present range of each tensor whose range is free."""
    from edgeconv.export.quantize import observed_tensors
    from edgeconv.export.quantize.ranges import range_estimator

    calibrated, scheme = trials.calibrated(choices), trials.scheme(choices)
    estimate = range_estimator(scheme.ranges)
    for name in observed_tensors(calibrated.model, kept_float=choices.float_nodes):
        if name not in scheme.input_grid:
            yield name, scheme.tensor_ranges.get(name) or estimate(calibrated.statistics[name])
