from __future__ import annotations

import dataclasses

from edgeconv.export.choices import Choices
from edgeconv.export.mixed.trials import make_trial
from edgeconv.export.search.tensor_ranges import refine_tensor_ranges
from edgeconv.export.search.trials import Images, Trials


def test_bad_ranges_are_repaired(trials: Trials) -> None:
    high = trials.calibrated(Choices()).statistics["ur"].high
    for start in ((0.0, 6 * high), (0.0, 0.4 * high)):  # much too wide, much too narrow
        bad = Choices(tensor_ranges={"ur": start})
        moved = refine_tensor_ranges(trials, bad)
        assert abs(moved["ur"][1] - high) < abs(start[1] - high)
        better = dataclasses.replace(bad, tensor_ranges=moved)
        assert trials.measure(better).sqnr_db > trials.measure(bad).sqnr_db + 1


def test_what_is_proposed_is_better_on_the_calibration_images_and_their_shifted_copies(trials: Trials) -> None:
    start = Choices(ranges="minmax")
    calibrated = trials.calibrated(start)
    images = Images(calibrated.model, [*trials.calibration[:2], *trials.shifted_calibration(2)])
    int8 = trials.quantise(start).model
    moved = refine_tensor_ranges(trials, start)

    def sqnr_db(choices: Choices) -> float:
        return images.sqnr_db(make_trial(calibrated.model, calibrated.statistics, trials.scheme(choices), int8, ()))

    gain = sqnr_db(dataclasses.replace(start, tensor_ranges=moved)) - sqnr_db(start)
    assert gain > 0.03 * len(moved) - 1e-9
    assert all(low <= 0 <= high for low, high in moved.values())
    assert "x" not in moved  # an 8-bit image is on its own grid


def test_same_images_give_the_same_ranges(trials: Trials) -> None:
    assert refine_tensor_ranges(trials, Choices()) == refine_tensor_ranges(trials, Choices())
