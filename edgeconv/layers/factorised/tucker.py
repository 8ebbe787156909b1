"""Tucker-2: 1x1, a small k x k core, 1x1 (Kim et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.layers.factorised.base import ConvShape, Factorised, check_rank, conv_like, require_plain

__all__ = ["Tucker2"]

_SWEEPS = 10  # of orthogonal iteration after the first guess; the error settles within a few


class Tucker2(Factorised):
    """1x1 from C to r1, k x k from r1 to r2, 1x1 from r2 to F: ``C r1 + kH kW r1 r2 + r2 F`` parameters."""

    @staticmethod
    def weight_count(shape: ConvShape, in_rank: int, out_rank: int) -> int:
        """Without biases."""
        kernel_h, kernel_w = shape.kernel_size
        return shape.in_channels * in_rank + kernel_h * kernel_w * in_rank * out_rank + out_rank * shape.out_channels

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, in_rank: int, out_rank: int) -> Tucker2:
        """A near-best one of these ranks, by higher-order orthogonal iteration from the higher-order SVD.

        Raises:
            UsageError: `conv` cannot be factored, or a rank is out of its range.
        """
        require_plain(cls.__name__, conv)
        check_rank(cls.__name__, "in_rank", in_rank, conv.in_channels)
        check_rank(cls.__name__, "out_rank", out_rank, conv.out_channels)
        weight = conv.weight.detach().double()
        out = _leading(weight.flatten(1), out_rank)
        inner = _leading(weight.transpose(0, 1).flatten(1), in_rank)
        for _ in range(_SWEEPS):
            out = _leading(torch.einsum("oihw,ir->orhw", weight, inner).flatten(1), out_rank)
            inner = _leading(torch.einsum("oihw,or->irhw", weight, out).flatten(1), in_rank)
        core = torch.einsum("oihw,op,iq->pqhw", weight, out, inner)
        return cls(
            conv_like(conv, inner.T[:, :, None, None], spatial=False),
            conv_like(conv, core, spatial=True),
            conv_like(conv, out[:, :, None, None], spatial=False, bias=True),
        )


def _leading(matrix: Tensor, count: int) -> Tensor:
    """The first `count` left singular vectors; a basis is completed where the matrix has fewer columns."""
    u: Tensor = torch.linalg.svd(matrix, full_matrices=matrix.shape[1] < count)[0]
    return u[:, :count]
