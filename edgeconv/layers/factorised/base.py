"""What the schemes share: a chain of convolutions that computes one dense convolution, or tries to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError

__all__ = ["ConvShape", "Factorised", "check_rank", "conv_like", "require_plain"]


@dataclasses.dataclass(frozen=True)
class ConvShape:
    """A dense convolution: C channels in, F out, a kernel of kH x kW."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]

    @classmethod
    def of(cls, conv: nn.Conv2d) -> ConvShape:
        """The shape of a convolution without groups."""
        return cls(conv.in_channels, conv.out_channels, (conv.kernel_size[0], conv.kernel_size[1]))

    @property
    def dense_parameters(self) -> int:
        """``kH kW C F``, biases not counted."""
        return self.kernel_size[0] * self.kernel_size[1] * self.in_channels * self.out_channels


class Factorised(nn.Sequential):
    """Convolutions in a row with nothing between them; only the last has a bias.

    They compute one dense convolution exactly, which `merge` returns.
    """

    def merge(self) -> nn.Conv2d:
        """The dense convolution that computes the same: the chain's answer to each input channel's impulse."""
        steps = [step for step in self if isinstance(step, nn.Conv2d)]
        first, last = steps[0], steps[-1]
        one = first.in_channels
        height = 1 + sum(step.kernel_size[0] - 1 for step in steps)
        width = 1 + sum(step.kernel_size[1] - 1 for step in steps)
        impulse = torch.zeros(one, one, 2 * height - 1, 2 * width - 1, dtype=torch.float64)
        impulse[torch.arange(one), torch.arange(one), height - 1, width - 1] = 1
        value = impulse
        for step in steps:
            value = nn.functional.conv2d(value, step.weight.detach().double(), groups=step.groups)
        dense = nn.Conv2d(
            one,
            last.out_channels,
            (height, width),
            stride=_product([step.stride for step in steps]),
            padding=_total([_pair(step.padding) for step in steps]),
            dilation=_product([step.dilation for step in steps]),
            bias=last.bias is not None,
            device=last.weight.device,
            dtype=last.weight.dtype,
        )
        with torch.no_grad():
            dense.weight.copy_(value.permute(1, 0, 2, 3).flip(2, 3))  # an impulse answers with the kernel reversed
            if last.bias is not None and dense.bias is not None:
                dense.bias.copy_(last.bias)
        return dense.train(self.training)


def conv_like(
    conv: nn.Conv2d,
    weight: Tensor,
    *,
    spatial: bool | tuple[bool, bool],
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """One step of a chain that stands for `conv`: it takes `conv`'s geometry on the axes named by `spatial`."""
    axes = (spatial, spatial) if isinstance(spatial, bool) else spatial

    def taken(values: Sequence[int], neutral: int) -> tuple[int, int]:
        return (values[0] if axes[0] else neutral, values[1] if axes[1] else neutral)

    step = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=taken(conv.stride, 1),
        padding=taken(_pair(conv.padding), 0),
        dilation=taken(conv.dilation, 1),
        groups=groups,
        bias=bias and conv.bias is not None,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        step.weight.copy_(weight)
        if step.bias is not None and conv.bias is not None:
            step.bias.copy_(conv.bias)
    return step


def require_plain(scheme: str, conv: nn.Conv2d) -> None:
    """Refuse what no scheme can factor exactly.

    Raises:
        UsageError: `conv` is grouped, pads with something else than zeros or by name, or has weights not finite.
    """
    where = f"{scheme}.from_conv"
    if conv.groups != 1:
        raise UsageError(f"{where}: groups is {conv.groups}; only 1 can be factored.", "Keep this layer as it is.")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise UsageError(
            f"{where}: padding is {conv.padding!r} in mode {conv.padding_mode!r}; only zeros in pixels separate.",
            "Give the padding in pixels, or keep this layer dense.",
        )
    if not bool(torch.isfinite(conv.weight).all()):
        raise UsageError(f"{where}: the kernel has weights that are not finite.", "Check the checkpoint.")


def check_rank(scheme: str, name: str, rank: Any, largest: int) -> int:
    """`rank`, if it is an integer from 1 to `largest`.

    Raises:
        UsageError: it is not.
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= largest:
        raise UsageError(f"{scheme}: {name} must be an integer from 1 to {largest}, found {rank!r}.")
    return rank


def _pair(value: Any) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (int(value), int(value))


def _total(pairs: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


def _product(pairs: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    height = width = 1
    for pair in pairs:
        height, width = height * pair[0], width * pair[1]
    return height, width
