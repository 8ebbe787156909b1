"""SFConv: a convolution as two one-dimensional ones, the exact execution of a low-rank kernel.

The dense kernel ``W[o, i, kh, kw]`` is unfolded with one channel axis and one spatial axis on each side,
``M[o * kH + kh, i * kW + kw] = W[o, i, kh, kw]``, and factored as ``M = P Q``.  The rows of ``Q`` are the kernels of a
horizontal convolution, the columns of ``P`` those of a vertical one (Feng et al. 2024, arXiv 2403.00606; the scheme is
the second of Jaderberg et al. 2014).  Zero padding separates exactly because nothing stands between the two.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError

__all__ = ["SFConv2d", "fold_kernel", "rank_from_scale", "unfold_kernel"]

Size = int | tuple[int, int]


class SFConv2d(nn.Module):
    """Drop-in for `torch.nn.Conv2d` with a kernel of rank `rank`; (N, b, H, W) in, (N, a, H', W') out.

    `horizontal` is a 1 x kW convolution from b to r channels without bias, `vertical` a kH x 1 one from r to a channels
    with the layer's bias.  Each takes its axis of kernel, stride, padding and dilation.

    Args:
        in_channels: b.
        out_channels: a.
        kernel_size: kH x kW in pixels, any size; one number for both axes.
        stride: in pixels.
        padding: zeros on each side in pixels, or "same" (stride 1 only) or "valid".
        dilation: in pixels.
        groups: only 1; the factors of a grouped kernel do not compose.
        bias: whether there is one for each output channel.
        rank: r, at most min(a * kH, b * kW); see `rank_from_scale`.
        device: of the weights.
        dtype: of the weights.

    Raises:
        UsageError: an argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rank: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = _integer("in_channels", in_channels, 1)
        self.out_channels = _integer("out_channels", out_channels, 1)
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        self.dilation = _pair("dilation", dilation, 1)
        self.padding = _padding(padding, self.stride)
        self.groups = _groups(groups)
        self.rank = _integer("rank", rank, 1)
        (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = (
            self.kernel_size,
            self.stride,
            self.dilation,
        )
        full_rank = min(self.out_channels * kernel_h, self.in_channels * kernel_w)
        if self.rank > full_rank:
            raise UsageError(
                f"SFConv2d: rank is {rank}, but a {kernel_h}x{kernel_w} kernel from {in_channels} to {out_channels} "
                f"channels has full rank {full_rank}.",
                "Choose a rank up to that; a dense convolution is smaller above about half of it.",
            )
        padding_h, padding_w = (padding, padding) if isinstance(padding, str) else _pair("padding", padding, 0)
        self.horizontal = nn.Conv2d(
            self.in_channels,
            self.rank,
            (1, kernel_w),
            stride=(1, stride_w),
            padding=padding_w if isinstance(padding_w, str) else (0, padding_w),
            dilation=(1, dilation_w),
            bias=False,
            device=device,
            dtype=dtype,
        )
        self.vertical = nn.Conv2d(
            self.rank,
            self.out_channels,
            (kernel_h, 1),
            stride=(stride_h, 1),
            padding=padding_h if isinstance(padding_h, str) else (padding_h, 0),
            dilation=(dilation_h, 1),
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He-normal on P and on Q as matrices: deviations sqrt(2 / r) and sqrt(2 / (b * kW)); bias zero."""
        nn.init.normal_(self.vertical.weight, std=math.sqrt(2 / self.rank))
        nn.init.normal_(self.horizontal.weight, std=math.sqrt(2 / (self.in_channels * self.kernel_size[1])))
        if self.vertical.bias is not None:
            nn.init.zeros_(self.vertical.bias)

    def spectral_init(self, generator: torch.Generator | None = None) -> SFConv2d:
        """The factors of a He-initialised dense kernel: ``P = U_r sqrt(S_r)``, ``Q = sqrt(S_r) V_r^T``.

        Khodak et al. 2021; unlike `reset_parameters`, the product starts as the best rank-r part of a dense layer.
        """
        shape = (self.out_channels, self.in_channels, *self.kernel_size)
        deviation = math.sqrt(2 / (shape[1] * shape[2] * shape[3]))
        kernel = torch.randn(shape, dtype=torch.float64, generator=generator) * deviation
        u, s, vh = torch.linalg.svd(unfold_kernel(kernel), full_matrices=False)
        root = s[: self.rank].sqrt()
        self._set_factors(u[:, : self.rank] * root, root[:, None] * vh[: self.rank])
        return self

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, rank: int) -> SFConv2d:
        """The best layer of this rank for a dense one: truncated SVD of the unfolded kernel, halves of equal norm.

        Raises:
            UsageError: `conv` is grouped or pads with something else than zeros, its weights are not finite, or the
                rank is out of range.
        """
        if not bool(torch.isfinite(conv.weight).all()):
            raise UsageError("SFConv2d.from_conv: the kernel has weights that are not finite.", "Check the checkpoint.")
        u, s, vh = torch.linalg.svd(unfold_kernel(conv.weight.detach().double()), full_matrices=False)
        root = s[:rank].sqrt() if rank > 0 else s[:0]
        return cls.from_factors(conv, u[:, :rank] * root, root[:, None] * vh[:rank], rank=rank)

    @classmethod
    def from_factors(cls, conv: nn.Conv2d, p: Tensor, q: Tensor, *, rank: int) -> SFConv2d:
        """The layer with the geometry and bias of `conv` and the factors P (a * kH, r) and Q (r, b * kW).

        Raises:
            UsageError: `conv` is grouped or pads with something else than zeros, or the rank is out of range.
        """
        if conv.padding_mode != "zeros":
            raise UsageError(
                f"SFConv2d.from_conv: padding_mode is {conv.padding_mode!r}; only zeros separate exactly.",
                "Keep this layer dense.",
            )
        factored = cls(
            conv.in_channels,
            conv.out_channels,
            _two(conv.kernel_size),
            _two(conv.stride),
            conv.padding if isinstance(conv.padding, str) else _two(conv.padding),
            _two(conv.dilation),
            conv.groups,
            conv.bias is not None,
            rank=rank,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )
        factored._set_factors(p, q)
        if conv.bias is not None and factored.vertical.bias is not None:
            with torch.no_grad():
                factored.vertical.bias.copy_(conv.bias)
        return factored.train(conv.training)

    def factors(self) -> tuple[Tensor, Tensor]:
        """P of shape (a * kH, r) and Q of shape (r, b * kW), as differentiable views of the weights."""
        vertical = self.vertical.weight.squeeze(3).permute(0, 2, 1)
        return vertical.reshape(-1, self.rank), self.horizontal.weight.reshape(self.rank, -1)

    def merge(self) -> nn.Conv2d:
        """The dense convolution that computes the same; its kernel is P Q, folded."""
        dense = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            bias=self.vertical.bias is not None,
            device=self.vertical.weight.device,
            dtype=self.vertical.weight.dtype,
        )
        p, q = self.factors()
        with torch.no_grad():
            dense.weight.copy_(fold_kernel(p.double() @ q.double(), tuple(dense.weight.shape)))
            if self.vertical.bias is not None and dense.bias is not None:
                dense.bias.copy_(self.vertical.bias)
        return dense.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, b, H, W) to (N, a, H', W')."""
        return self.vertical(self.horizontal(x))  # type: ignore[no-any-return]

    def unfactored(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Matrices of the shapes of P and Q as weights of `vertical` and `horizontal`: the inverse of `factors`."""
        kernel_h, kernel_w = self.kernel_size
        vertical = p.reshape(self.out_channels, kernel_h, self.rank).permute(0, 2, 1).unsqueeze(3)
        return vertical, q.reshape(self.rank, self.in_channels, 1, kernel_w)

    def _set_factors(self, p: Tensor, q: Tensor) -> None:
        vertical, horizontal = self.unfactored(p, q)
        with torch.no_grad():
            self.vertical.weight.copy_(vertical)
            self.horizontal.weight.copy_(horizontal)


def unfold_kernel(weight: Tensor) -> Tensor:
    """(a, b, kH, kW) to the (a * kH, b * kW) matrix whose factors are SFConv's; a plain reshape is another matrix."""
    a, b, kernel_h, kernel_w = weight.shape
    return weight.permute(0, 2, 1, 3).reshape(a * kernel_h, b * kernel_w)


def fold_kernel(matrix: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `unfold_kernel`; `shape` is (a, b, kH, kW)."""
    a, b, kernel_h, kernel_w = shape
    return matrix.reshape(a, kernel_h, b, kernel_w).permute(0, 2, 1, 3)


def rank_from_scale(scale: float, in_channels: int, out_channels: int) -> int:
    """The authors' rank rule: a share of the smaller channel count (not of the full rank), at least 1.

    Halves go to the even neighbour, so a stem of 3 channels has rank 2 at scale 0.5 and rank 1 at 0.1.

    Raises:
        UsageError: `scale` is not a positive finite number.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"A rank scale must be positive and finite, found {scale}.", "The authors use 0.1 to 1.0.")
    return max(round(scale * min(in_channels, out_channels)), 1)


def _integer(name: str, value: Any, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UsageError(f"SFConv2d: {name} must be an integer of at least {minimum}, found {value!r}.")
    return value


def _pair(name: str, value: Any, minimum: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise UsageError(f"SFConv2d: {name} must be one or two integers, found {value!r}.")
    return _integer(name, pair[0], minimum), _integer(name, pair[1], minimum)


def _padding(padding: Size | str, stride: tuple[int, int]) -> tuple[int, int] | str:
    if not isinstance(padding, str):
        return _pair("padding", padding, 0)
    if padding not in ("same", "valid"):
        raise UsageError(f"SFConv2d: padding must be integers, 'same' or 'valid', found {padding!r}.")
    if padding == "same" and stride != (1, 1):
        raise UsageError(f"SFConv2d: padding 'same' needs stride 1, found {stride}.", "Give the padding in pixels.")
    return padding


def _groups(groups: int) -> int:
    if groups != 1:
        raise UsageError(
            f"SFConv2d: groups is {groups!r}; only 1 can be factored, because its two steps mix all channels.",
            "Keep grouped and depthwise convolutions dense.",
        )
    return groups


def _two(values: tuple[int, ...]) -> tuple[int, int]:
    return values[0], values[1]
