"""A short distillation of the dense model into the factored one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError
from edgeconv.layers.sfconv import SFConv2d
from edgeconv.layers.sve import sve_loss

__all__ = ["finetune"]

_LEARNING_RATE = 1e-3


def finetune(
    student: nn.Module, teacher: nn.Module, samples: Sequence[tuple[Tensor, ...]], steps: int, sve_weight: float
) -> int:
    """Move the factors (and biases beside them) so that the outputs on the samples come near the dense model's again.

    Statistics of normalisation layers stay as they are.  The loss is the relative squared error plus `sve_weight`
    times the singular-value equalisation of the factors; without a factored layer nothing is done.

    Returns:
        The steps that were taken; 0 where the outputs came no nearer, and the factors are as they were.

    Raises:
        ModelError: the model's outputs have no gradient.
    """
    factored = [module for module in student.modules() if isinstance(module, SFConv2d)]
    if not factored:
        return 0
    parameters = [parameter for module in factored for parameter in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    student.eval()
    with torch.no_grad():
        targets = [teacher(*sample) for sample in samples]
        kept = [parameter.clone() for parameter in parameters]
        before = _mean_error(student, samples, targets)
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index = int(torch.randint(len(samples), (1,), generator=order))
        error = _error(student, samples[index], targets[index])
        if not error.requires_grad:
            raise ModelError(
                "The model's output has no gradient, so it cannot be fine-tuned.",
                "Take torch.no_grad or detach out of its forward, or leave --finetune out.",
            )
        loss = error + sve_weight * sve_loss(factored) * error.detach()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        if _mean_error(student, samples, targets) < before:
            return steps
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    return 0


def _error(student: nn.Module, sample: tuple[Tensor, ...], target: Tensor) -> Tensor:
    """Squared, relative to the target's energy."""
    difference: Tensor = student(*sample) - target
    return difference.square().sum() / target.square().sum().clamp_min(1e-12)


def _mean_error(student: nn.Module, samples: Sequence[tuple[Tensor, ...]], targets: Sequence[Tensor]) -> float:
    errors = [_error(student, sample, target) for sample, target in zip(samples, targets, strict=True)]
    return float(torch.stack(errors).mean())
