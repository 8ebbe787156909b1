from __future__ import annotations

import math

import numpy as np
import pytest

from edgeconv.errors import UsageError
from edgeconv.export.mixed.report import Quality
from edgeconv.export.mixed.target import Judgement, QualityTarget, make_target


def test_flags_become_a_target() -> None:
    assert make_target(None, None) is None
    assert make_target(40.0, None) == QualityTarget(40.0)
    assert make_target(None, "dice=0.002") == QualityTarget(None, "dice", 0.002)
    both = make_target(38.5, "psnr=0")
    assert both == QualityTarget(38.5, "psnr", 0.0)
    assert both is not None
    assert both.words == "no golden case below 38.5 dB and psnr at most 0 below PyTorch's"


@pytest.mark.parametrize(
    ("min_sqnr", "max_drop", "words"),
    [
        (0.0, None, "--min-sqnr 0 "),
        (-3.0, None, "--min-sqnr -3 "),
        (math.nan, None, "--min-sqnr nan"),
        (math.inf, None, "--min-sqnr inf"),
        (None, "dice", "names no metric and value"),
        (None, "=0.1", "names no metric and value"),
        (None, "dice=", "is no number"),
        (None, "dice=much", "'much' is no number"),
        (None, "dice=-0.1", "0 or more"),
        (None, "dice=nan", "0 or more"),
        (None, "dize=0.1", r"No metric is called 'dize'.*dice"),
    ],
)
def test_values_that_mean_nothing_are_refused(min_sqnr: float | None, max_drop: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_target(min_sqnr, max_drop)


def test_a_metric_of_the_users_own_may_hold_an_equals_sign_in_its_path() -> None:
    with pytest.raises(UsageError, match=r"a=b\.py"):  # it is looked for, and not there
        make_target(None, "a=b.py:metric=0.1")


def test_data_that_cannot_be_judged_on_are_refused() -> None:
    with pytest.raises(UsageError, match="--calibration"):
        QualityTarget(40.0).check([], calibrated=False)
    with pytest.raises(UsageError, match=r"no targets.*--eval"):
        QualityTarget(None, "dice", 0.1).check([{"x": np.zeros(1)}], calibrated=True)


def _case(*values: float) -> dict[str, np.ndarray]:
    return {"y": np.array([values], np.float32)}


def test_quality_is_pooled_of_the_worst_case_and_of_the_metric() -> None:
    torch = [_case(1, 1), _case(10, 10)]
    samples = [{"target": np.array([[1, 1]])}, {"target": np.array([[1, 0]])}]
    judgement = Judgement(QualityTarget(20.0), torch, samples, "iou")
    found = judgement.quality([_case(1.1, 1), _case(10, 10.1)])
    assert found.sqnr_db == pytest.approx(10 * math.log10(202 / 0.02), abs=1e-4)
    assert found.worst_db == pytest.approx(10 * math.log10(2 / 0.01), abs=1e-4)
    assert judgement.torch_metric == found.metric == pytest.approx((1 + 2 / 3) / 2)
    assert judgement.met(found)
    assert not Judgement(QualityTarget(24.0), torch, samples).met(found)
    assert judgement.quality(torch) == Quality(None, None, judgement.torch_metric)
    assert judgement.met(judgement.quality(torch))


def test_a_drop_is_measured_from_pytorch() -> None:
    samples = [{"target": np.array([[1, 1]])}]
    judgement = Judgement(QualityTarget(None, "iou", 0.3), [_case(1, 1)], samples)
    assert judgement.torch_metric == 1
    assert judgement.met(Quality(10.0, 10.0, 0.71))
    assert not judgement.met(Quality(90.0, 90.0, 0.69))
    assert judgement.met(Quality(10.0, 10.0, 1.2))  # better than PyTorch is no drop
