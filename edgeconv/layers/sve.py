"""Singular-value equalisation: the KL divergence between the factors' spectra and the uniform distribution.

Feng et al. 2024 (arXiv 2403.00606) describe it in the abstract only; normaliser and direction are options here, and
the defaults are the natural reading.  With p = sigma / sum(sigma) and the forward direction the gradient is
``U diag(g) V^T, g_j = (log p_j + H(p)) / sum(sigma)``: equal singular values, the optimum, are harmless to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.layers.sfconv import SFConv2d

__all__ = ["spectrum_kl", "sve_loss"]

Normaliser = Literal["l1", "energy", "softmax"]
Direction = Literal["forward", "reverse"]


def sve_loss(
    layers: nn.Module | Iterable[SFConv2d],
    *,
    normaliser: Normaliser = "l1",
    direction: Direction = "forward",
    floor: float = 1e-8,
) -> Tensor:
    """Mean over layers of KL(P) + KL(Q); a scalar to be weighted (0.1 by default in the recipes) and added to a loss.

    Args:
        layers: a module, of which all `SFConv2d` count, or the layers themselves.
        normaliser: see `spectrum_kl`.
        direction: see `spectrum_kl`.
        floor: see `spectrum_kl`.

    Raises:
        UsageError: there is no `SFConv2d`, or an option is out of its range.
    """
    modules = layers.modules() if isinstance(layers, nn.Module) else layers
    matrices = [factor for m in modules if isinstance(m, SFConv2d) for factor in m.factors()]
    if not matrices:
        raise UsageError(
            "sve_loss: the model has no SFConv2d, so there are no factors to equalise.",
            "Leave the loss out (weight 0), or build the model with factored convolutions.",
        )
    terms = [spectrum_kl(matrix, normaliser=normaliser, direction=direction, floor=floor) for matrix in matrices]
    return 2 * torch.stack(terms).mean()


def spectrum_kl(
    matrix: Tensor,
    *,
    normaliser: Normaliser = "l1",
    direction: Direction = "forward",
    floor: float = 1e-8,
) -> Tensor:
    """KL divergence in nats between the normalised singular values of an (m, n) matrix and 1 / min(m, n).

    Forward, KL(p || u), lies in 0 .. log(min(m, n)) and is 0 where all singular values are equal; reverse, KL(u || p),
    grows without bound as one vanishes, up to -log(floor).  It is differentiable, also at equal singular values.

    Args:
        matrix: of rank 2, in single or double precision.
        normaliser: "l1" divides by the sum, "energy" squares first, "softmax" depends on the matrix's scale.
        direction: "forward" or "reverse".
        floor: the smallest p inside the logarithm.

    Raises:
        UsageError: the matrix is not two-dimensional or not finite, or an option is out of its range.
    """
    if matrix.ndim != 2 or not matrix.numel():
        raise UsageError(f"spectrum_kl: expected a matrix, found the shape {tuple(matrix.shape)}.")
    if not bool(torch.isfinite(matrix).all()):
        raise UsageError("spectrum_kl: the factor has values that are not finite.", "Lower the learning rate.")
    if normaliser not in _NORMALISERS:
        raise UsageError(f"spectrum_kl: normaliser must be one of {', '.join(_NORMALISERS)}, found {normaliser!r}.")
    if direction not in _DIRECTIONS:
        raise UsageError(f"spectrum_kl: direction must be one of {', '.join(_DIRECTIONS)}, found {direction!r}.")
    if not 0 < floor < 1:
        raise UsageError(f"spectrum_kl: floor must lie between 0 and 1, found {floor}.")
    # Exact singular values: those of the Gram matrix would lose half of the digits of the small ones.
    p = _NORMALISERS[normaliser](torch.linalg.svdvals(matrix))
    return _DIRECTIONS[direction](p, p.clamp_min(floor).log())


def _l1(sigma: Tensor) -> Tensor:
    total = sigma.sum()
    return sigma / torch.where(total > 0, total, 1)  # a zero matrix gives zeros and a finite gradient


def _energy(sigma: Tensor) -> Tensor:
    return _l1(sigma.square())


def _softmax(sigma: Tensor) -> Tensor:
    return torch.softmax(sigma, dim=0)


def _forward(p: Tensor, log_p: Tensor) -> Tensor:
    return (p * (log_p - _log_uniform(p))).sum()


def _reverse(p: Tensor, log_p: Tensor) -> Tensor:
    return _log_uniform(p) - log_p.mean()


def _log_uniform(p: Tensor) -> Tensor:
    return -torch.log(torch.full((), p.numel(), dtype=p.dtype, device=p.device))


_NORMALISERS: dict[str, Callable[[Tensor], Tensor]] = {"l1": _l1, "energy": _energy, "softmax": _softmax}
_DIRECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"forward": _forward, "reverse": _reverse}
