from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.errors import DataError, UsageError
from edgeconv.parity.metrics import (
    auroc,
    dice,
    get_metric,
    iou,
    metric_names,
    metric_of_bundle,
    psnr,
    ssim,
    top1,
)

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
    assert metric_names() == ["dice", "iou", "auroc", "top1", "psnr", "ssim"]
    with pytest.raises(UsageError, match="Did you mean psnr"):
        get_metric("PSNR1".lower())


@given(hnp.arrays(np.float32, (2, 1, 9), elements=st.integers(-3, 3).map(float)), hnp.arrays(np.bool_, (2, 1, 9)))
def test_auroc_is_the_share_of_pairs_in_the_right_order(scores, target):
    positive, negative = scores[target], scores[~target]
    if not positive.size or not negative.size:
        with pytest.raises(DataError, match="both classes"):
            auroc(scores, target)
        return
    pairs = [(1.0 if p > n else 0.5 if p == n else 0.0) for p in positive for n in negative]
    assert auroc(scores, target.astype(np.float32)) == pytest.approx(np.mean(pairs))


@given(hnp.arrays(np.float64, (2, 8), elements=st.integers(-40, 40).map(float)))
def test_auroc_only_reads_the_order_of_the_scores(scores):
    target = np.tile([0, 1], 8).reshape(2, 8)
    assert auroc(np.exp(scores / 8), target) == pytest.approx(auroc(scores, target))


@pytest.mark.parametrize("shape", [(3, 1, 1, 11, 40), (2, 1, 3, 24, 17), (2, 33, 20)])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.5])
def test_ssim_is_that_of_scikit_image_away_from_the_border(shape, noise):
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(3)
    target = rng.random(shape)
    images = np.clip(target + noise * rng.standard_normal(shape), 0, 1)
    expected = []
    planes = [array.reshape(-1, *shape[-2:]) for array in (images, target)]
    for image, wanted in zip(*planes, strict=True):
        _, full = structural_similarity(
            image, wanted, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
        )
        expected.append(full[5:-5, 5:-5].mean())
    assert ssim(images, target) == pytest.approx(np.mean(expected), abs=1e-12)


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(DataError, match="at least 11 x 11"):
        ssim(np.zeros((1, 1, 1, 10, 40)), np.zeros((1, 1, 1, 10, 40)))


METRIC = """
import numpy as np
import offset_of_a_metric_test

def closeness(outputs, targets):
    return offset_of_a_metric_test.OFFSET - np.abs(outputs - targets).mean()

def broken(outputs, targets):
    raise ValueError("these do not fit")

def endless(outputs, targets):
    return float("nan")

def wordy(outputs, targets):
    return "good"

CONSTANT = 3
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "offset_of_a_metric_test.py").write_text("OFFSET = 2.0\n")
    path = tmp_path / "metric.py"
    path.write_text(METRIC)
    return path


def test_a_function_of_the_users_is_a_metric(code: Path):
    metric = get_metric(f"{code}:closeness")
    assert metric(np.zeros((2, 3)), np.full((2, 3), 0.5)) == pytest.approx(1.5)


def test_a_function_in_a_package_is_a_metric():
    assert get_metric("edgeconv.parity.metrics:psnr")(np.zeros((1, 4)), np.zeros((1, 4))) == 100.0


@pytest.mark.parametrize(
    ("name", "message"),
    [("broken", r"ValueError: these do not fit \(metric.py"), ("endless", "nan"), ("wordy", "good")],
)
def test_a_metric_that_raises_or_gives_no_number_is_told(code: Path, name: str, message: str):
    with pytest.raises(DataError, match=message):
        get_metric(f"{code}:{name}")(np.zeros((1, 2)), np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{code}:closenes", "Did you mean closeness"),
        ("{code}:CONSTANT", "is no function, it is int"),
        ("gone.py:metric", "There is no file gone.py"),
        ("no_such_package:metric", "There is no module 'no_such_package'"),
        (":metric", "does not name a metric"),
    ],
)
def test_code_that_is_no_metric_is_refused(code: Path, spec: str, message: str):
    with pytest.raises(UsageError, match=message):
        get_metric(spec.format(code=code))


def test_a_bundle_names_built_in_metrics_and_never_makes_us_import_code(tmp_path: Path, monkeypatch):
    (tmp_path / "planted_by_a_bundle.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    assert metric_of_bundle("dice", None) == ("dice", dice)
    assert metric_of_bundle(None, None) is None
    assert metric_of_bundle("planted_by_a_bundle:metric", None) is None
    assert "planted_by_a_bundle" not in sys.modules


def test_the_users_choice_takes_the_place_of_the_bundles(code: Path):
    name, metric = metric_of_bundle("dice", f"{code}:closeness") or ("", dice)
    assert name == f"{code}:closeness"
    assert metric(np.zeros((1, 2)), np.zeros((1, 2))) == 2.0
