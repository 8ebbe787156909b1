from __future__ import annotations

import pytest
import torch

from edgeconv.training.losses import bce_dice_loss, charbonnier_loss


def test_bce_dice_loss_is_near_zero_for_a_sure_and_right_answer_only():
    mask = (torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    assert bce_dice_loss(40 * mask - 20, mask) < 1e-4
    assert bce_dice_loss(20 - 40 * mask, mask) > 10


def test_charbonnier_loss_is_the_absolute_error_where_that_is_large():
    zeros = torch.zeros(1, 1, 4, 4)
    assert charbonnier_loss(zeros + 0.5, zeros) == pytest.approx(0.5, abs=1e-5)
    assert charbonnier_loss(zeros, zeros) == pytest.approx(1e-3, abs=1e-6)
