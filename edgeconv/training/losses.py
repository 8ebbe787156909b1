"""Losses that training minimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["bce_dice_loss", "charbonnier_loss"]


def bce_dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy plus (1 - soft Dice), each averaged over the batch; NCHW, targets of 0 and 1."""
    probability = torch.sigmoid(logits)
    overlap = (probability * targets).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + targets.sum(dim=(1, 2, 3))
    soft_dice = (2 * overlap + 1) / (total + 1)
    return F.binary_cross_entropy_with_logits(logits, targets) + (1 - soft_dice).mean()


def charbonnier_loss(outputs: Tensor, targets: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2): the absolute error, smooth at 0 (Charbonnier et al., ICIP 1994)."""
    return torch.sqrt((outputs - targets) ** 2 + epsilon**2).mean()
