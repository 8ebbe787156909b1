"""CP: 1x1, a column filter, a row filter, 1x1 (Lebedev et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeconv.layers.factorised.base import ConvShape, Factorised, check_rank, conv_like, require_plain

__all__ = ["CpConv"]

_SWEEPS = 100
_SETTLED = 1e-6  # relative change of the error from one sweep to the next
_RIDGE = 1e-9  # of the largest Gram entry: columns of a CP model may become parallel


class CpConv(Factorised):
    """1x1 from C to R, k x 1 and 1 x k on each of R channels, 1x1 from R to F: ``R (C + kH + kW + F)`` parameters."""

    @staticmethod
    def largest_rank(shape: ConvShape) -> int:
        """A rank that always suffices: the smallest product of all sizes but one."""
        sizes = (shape.in_channels, shape.out_channels, *shape.kernel_size)
        total = shape.dense_parameters
        return total // max(sizes)

    @staticmethod
    def weight_count(shape: ConvShape, rank: int) -> int:
        """Without biases."""
        return rank * (shape.in_channels + sum(shape.kernel_size) + shape.out_channels)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, rank: int) -> CpConv:
        """A local optimum of this rank by alternating least squares; a best one need not exist.

        Raises:
            UsageError: `conv` cannot be factored, or the rank is out of its range.
        """
        require_plain(cls.__name__, conv)
        check_rank(cls.__name__, "rank", rank, cls.largest_rank(ConvShape.of(conv)))
        out, inner, column, row = _alternate(conv.weight.detach().double(), rank)
        return cls(
            conv_like(conv, inner.T[:, :, None, None], spatial=False),
            conv_like(conv, column.T[:, None, :, None], spatial=(True, False), groups=rank),
            conv_like(conv, row.T[:, None, None, :], spatial=(False, True), groups=rank),
            conv_like(conv, out[:, :, None, None], spatial=False, bias=True),
        )


def _alternate(tensor: Tensor, rank: int) -> list[Tensor]:
    """Factors (size, rank) of every axis, norms spread evenly; the same for the same tensor."""
    generator = torch.Generator().manual_seed(0)
    factors = [_start(tensor, axis, rank, generator) for axis in range(tensor.ndim)]
    norm, before = tensor.norm(), float("inf")
    if norm == 0:
        return [torch.zeros_like(factor) for factor in factors]
    for _ in range(_SWEEPS):
        for axis in range(tensor.ndim):
            factors[axis] = _solve(tensor, factors, axis)
        error = float((tensor - torch.einsum("or,ir,hr,wr->oihw", *factors)).norm() / norm)
        if before - error < _SETTLED * max(before, 1e-12):
            break
        before = error
    norms = torch.stack([factor.norm(dim=0).clamp_min(1e-30) for factor in factors])
    spread = norms.prod(dim=0) ** (1 / tensor.ndim)
    return [factor / own * spread for factor, own in zip(factors, norms, strict=True)]


def _start(tensor: Tensor, axis: int, rank: int, generator: torch.Generator) -> Tensor:
    """Singular vectors of the axis, then random ones where there are no more."""
    u = torch.linalg.svd(tensor.movedim(axis, 0).flatten(1), full_matrices=False)[0][:, :rank]
    missing = rank - u.shape[1]
    filler = torch.randn(tensor.shape[axis], missing, dtype=tensor.dtype, generator=generator)
    return torch.cat([u, filler], dim=1)


def _solve(tensor: Tensor, factors: Sequence[Tensor], axis: int) -> Tensor:
    """The least-squares factor of one axis, the others held."""
    others = [factor for index, factor in enumerate(factors) if index != axis]
    gram = torch.ones(others[0].shape[1], others[0].shape[1], dtype=tensor.dtype)
    for factor in others:
        gram = gram * (factor.T @ factor)
    letters = "oihw"
    rest = [letter for index, letter in enumerate(letters) if index != axis]
    equation = f"oihw,{','.join(f'{letter}r' for letter in rest)}->{letters[axis]}r"
    right = torch.einsum(equation, tensor, *others)
    ridge = _RIDGE * gram.diagonal().max()
    solution: Tensor = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype), right.T)
    return solution.T
