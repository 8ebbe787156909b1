from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.errors import DataError, UsageError
from edgeconv.parity.metrics import dice, get_metric, iou, metric_names, psnr, top1

LOGITS = hnp.arrays(np.float32, (3, 1, 1, 4, 5), elements=st.floats(-5, 5, width=32))
MASKS = hnp.arrays(np.bool_, (3, 1, 1, 4, 5))


def test_dice_and_iou_are_those_of_their_formulas():
    logits = np.array([[3.0, 2.0, -1.0, -2.0], [1.0, -1.0, -1.0, -1.0]])
    target = np.array([[1, 0, 1, 0], [1, 0, 0, 0]])
    assert dice(logits, target) == pytest.approx(((2 * 1 + 1) / (2 + 2 + 1) + (2 * 1 + 1) / (1 + 1 + 1)) / 2)
    assert iou(logits, target) == pytest.approx(((1 + 1) / (3 + 1) + (1 + 1) / (1 + 1)) / 2)


def test_a_logit_of_zero_is_background():
    assert dice(np.zeros((1, 4)), np.zeros((1, 4))) == 1.0
    assert dice(np.zeros((1, 4)), np.ones((1, 4))) == pytest.approx(1 / 5)


@given(LOGITS, MASKS)
def test_overlaps_lie_between_0_and_1_and_are_1_when_the_masks_agree(logits, mask):
    for metric in (dice, iou):
        assert 0 < metric(logits, mask) <= 1
        assert metric(np.where(mask, 1.0, -1.0), mask.astype(np.float32)) == 1
    assert iou(logits, mask) <= dice(logits, mask) + 1e-12


@given(LOGITS, MASKS)
def test_overlaps_do_not_depend_on_the_scale_of_the_logits(logits, mask):
    assert dice(logits * 4, mask) == dice(logits, mask)


def test_psnr_of_a_known_error():
    target = np.zeros((2, 3, 4, 4))
    images = np.stack([np.full((3, 4, 4), 0.1), np.full((3, 4, 4), 0.01)])
    assert psnr(images, target) == pytest.approx((20 + 40) / 2)
    assert psnr(target, target) == 100.0


def test_targets_may_lack_the_batch_axis():
    images = np.zeros((2, 1, 3, 4, 4))
    assert psnr(images, np.full((2, 3, 4, 4), 0.1)) == pytest.approx(20)


def test_top1_counts_rows_whose_best_score_is_the_target():
    scores = np.array([[[0.1, 0.9]], [[0.8, 0.2]], [[0.3, 0.7]], [[0.6, 0.4]]])
    assert top1(scores, np.array([1, 0, 0, 0])) == 0.75
    assert top1(scores, np.array([[1], [0], [0], [0]])) == 0.75


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="targets have shape"):
        dice(np.zeros((2, 4)), np.zeros((2, 5)))
    with pytest.raises(DataError, match="targets are 3 labels"):
        top1(np.zeros((2, 4)), np.zeros(3))


def test_metrics_are_found_by_name_with_near_names_suggested():
    assert get_metric("psnr") is psnr
    assert metric_names() == ["dice", "iou", "psnr", "top1"]
    with pytest.raises(UsageError, match="Did you mean psnr"):
        get_metric("PSNR1".lower())
