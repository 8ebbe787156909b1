"""What keeps factors in shape during training: the weight of the equalisation loss, and the precursor's two decays.

The decays are those of Khodak et al. 2021 ("Initialization and Regularization of Factorized Neural Layers") and of the
SFConv authors' earlier code; they add to the gradients between `backward()` and the optimiser's step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.layers.sfconv import SFConv2d

__all__ = ["frobenius_decay", "schedule_names", "spectral_decay", "weight_at"]

_POWER_ITERATIONS = 2


def _constant(share: float) -> float:
    return 1.0


def _ramp(share: float) -> float:
    return share


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


_SCHEDULES: dict[str, Callable[[float], float]] = {"constant": _constant, "ramp": _ramp, "cosine": _cosine}


def schedule_names() -> list[str]:
    """The schedules of `weight_at`."""
    return list(_SCHEDULES)


def weight_at(step: int, steps: int, weight: float, schedule: str = "constant") -> float:
    """Lambda of step 1 to `steps`: constant, rising linearly to `weight` (ramp), or falling from it to 0 (cosine).

    Raises:
        UsageError: no such schedule, or a weight that is negative or not finite.
    """
    if schedule not in _SCHEDULES:
        raise UsageError(f"No schedule is called {schedule!r}.", f"There are: {', '.join(_SCHEDULES)}.")
    if not (math.isfinite(weight) and weight >= 0):
        raise UsageError(f"The weight of a loss must be finite and not negative, found {weight}.")
    return weight * _SCHEDULES[schedule]((step - 1) / max(steps - 1, 1))


def frobenius_decay(layers: nn.Module | Iterable[SFConv2d], coefficient: float = 1e-4) -> None:
    """Add the gradient of ``coefficient / 2 * |P Q|^2``, the weight decay of the product instead of its factors.

    dP += coefficient P Q Q^T, dQ += coefficient P^T P Q.
    """
    for layer in _factored(layers):
        p, q = (factor.detach() for factor in layer.factors())
        _add(layer, coefficient * p @ (q @ q.T), coefficient * (p.T @ p) @ q)


def spectral_decay(
    layers: nn.Module | Iterable[SFConv2d],
    coefficient: float = 1e-4,
    *,
    power_iterations: int = _POWER_ITERATIONS,
    generator: torch.Generator | None = None,
) -> None:
    """Add a subgradient of ``coefficient * (sigma_1(P) + sigma_1(Q))``: ``u_1 v_1^T`` of each factor.

    The singular vectors are estimated by a few power iterations from a fresh random vector, as the authors do.
    """
    for layer in _factored(layers):
        p, q = (_top_direction(f.detach(), power_iterations, generator) for f in layer.factors())
        _add(layer, coefficient * p, coefficient * q)


def _factored(layers: nn.Module | Iterable[SFConv2d]) -> list[SFConv2d]:
    found = [m for m in (layers.modules() if isinstance(layers, nn.Module) else layers) if isinstance(m, SFConv2d)]
    if not found:
        raise UsageError("There is no SFConv2d whose factors could decay.", "Use ordinary weight decay.")
    return found


def _top_direction(matrix: Tensor, iterations: int, generator: torch.Generator | None) -> Tensor:
    v = torch.randn(matrix.shape[1], dtype=matrix.dtype, generator=generator).to(matrix.device)
    u = matrix @ v
    for _ in range(iterations):
        u = nn.functional.normalize(matrix @ v, dim=0)
        v = nn.functional.normalize(matrix.T @ u, dim=0)
    return torch.outer(u, v)


def _add(layer: SFConv2d, p: Tensor, q: Tensor) -> None:
    vertical, horizontal = layer.unfactored(p, q)
    for parameter, gradient in ((layer.vertical.weight, vertical), (layer.horizontal.weight, horizontal)):
        parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient
