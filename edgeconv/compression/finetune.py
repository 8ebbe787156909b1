"""A short distillation of the dense model into the factored one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeconv.layers.sfconv import SFConv2d
from edgeconv.layers.sve import sve_loss

__all__ = ["finetune"]

_LEARNING_RATE = 1e-3


def finetune(
    student: nn.Module, teacher: nn.Module, samples: Sequence[tuple[Tensor, ...]], steps: int, sve_weight: float
) -> None:
    """Move the factors (and biases beside them) so that the outputs on the samples come near the dense model's again.

    Statistics of normalisation layers stay as they are.  The loss is the relative squared error plus `sve_weight`
    times the singular-value equalisation of the factors; without a factored layer nothing is done.
    """
    factored = [module for module in student.modules() if isinstance(module, SFConv2d)]
    if not factored:
        return
    parameters = [parameter for module in factored for parameter in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.no_grad():
        targets = [teacher(*sample) for sample in samples]
    order = torch.Generator().manual_seed(0)
    student.eval()
    for _ in range(steps):
        index = int(torch.randint(len(samples), (1,), generator=order))
        target = targets[index]
        error = (student(*samples[index]) - target).square().sum() / target.square().sum().clamp_min(1e-12)
        loss = error + sve_weight * sve_loss(factored) * error.detach()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
