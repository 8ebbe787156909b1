"""The convolutions of a model, what they cost, and why some of them are not worth factoring."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError
from edgeconv.layers.sfconv import SFConv2d

__all__ = ["ConvLayer", "observe_layers"]

_RIDGE = 1e-6  # of the mean second moment: inputs that are always zero must not make it singular


@dataclasses.dataclass(frozen=True)
class ConvLayer:
    """A dense convolution in a model.

    `dense_macs` and `macs_per_rank` are multiply-accumulates of one forward pass of one sample, all calls together.
    `moment` is E[x x^T] (b * kW, b * kW) of what the horizontal step sees, the identity without data.  `refusal` says
    why the layer stays dense whatever the budget; empty where it may be factored.
    """

    name: str
    conv: nn.Conv2d
    dense_macs: int
    macs_per_rank: int
    moment: Tensor
    refusal: str

    @property
    def largest_rank(self) -> int:
        """The largest rank with fewer multiply-accumulates than the dense kernel has."""
        rows = self.conv.out_channels * self.conv.kernel_size[0]
        columns = self.conv.in_channels * self.conv.kernel_size[1]
        return min((self.dense_macs - 1) // self.macs_per_rank, rows, columns)


def observe_layers(model: nn.Module, samples: Iterable[tuple[Tensor, ...]], *, data_aware: bool) -> list[ConvLayer]:
    """Run the samples through the model and describe each of its dense convolutions, in the order of execution.

    Convolutions inside an `SFConv2d` are factored already and left out.

    Raises:
        ModelError: a convolution reads something that is not finite.
    """
    factored = {id(step) for m in model.modules() if isinstance(m, SFConv2d) for step in m.children()}
    convs = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and id(module) not in factored
    }
    order = itertools.count()
    observers = {name: _Observer(conv, data_aware, order) for name, conv in convs.items()}
    handles = [conv.register_forward_hook(observers[name], with_kwargs=True) for name, conv in convs.items()]
    count = 0
    try:
        with torch.no_grad():
            for sample in samples:
                model(*sample)
                count += 1
    finally:
        for handle in handles:
            handle.remove()
    called = sorted((o.order, name) for name, o in observers.items() if o.order is not None)
    return [observers[name].layer(name, count) for _, name in called]


class _Observer:
    """A forward hook that adds up what one convolution sees."""

    def __init__(self, conv: nn.Conv2d, data_aware: bool, calls: Iterator[int]) -> None:
        self._conv, self._data_aware, self._calls = conv, data_aware and conv.groups == 1, calls
        self.order: int | None = None  # None: never called
        self._positions = 0
        self._dense_macs = self._macs_per_rank = 0
        width = conv.in_channels * conv.kernel_size[1]
        self._sum = torch.zeros(width, width, dtype=torch.float64)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
        x = inputs[0] if inputs else named["input"]
        if self.order is None:
            self.order = next(self._calls)
        self._count(x, output)
        if self._data_aware:
            patches = self._patches(x.double())
            self._sum += patches @ patches.T
            self._positions += patches.shape[1]

    def layer(self, name: str, samples: int) -> ConvLayer:
        """What was seen in so many samples, as a description."""
        conv = self._conv
        moment = torch.eye(len(self._sum), dtype=torch.float64)
        if self._data_aware:
            mean = self._sum / self._positions
            if not bool(torch.isfinite(mean).all()):
                raise ModelError(
                    f"{name} reads values that are not finite.", "Check the weights before it, and the data."
                )
            moment = mean + _RIDGE * mean.diagonal().mean().clamp_min(1e-30) * moment
        layer = ConvLayer(name, conv, self._dense_macs // samples, self._macs_per_rank // samples, moment, "")
        return dataclasses.replace(layer, refusal=_refusal(layer))

    def _count(self, x: Tensor, output: Tensor) -> None:
        conv = self._conv
        kernel_h, kernel_w = conv.kernel_size
        rows_in, (rows, columns) = x.shape[-2], output.shape[-2:]
        inputs = conv.in_channels // conv.groups
        self._dense_macs += rows * columns * conv.out_channels * inputs * kernel_h * kernel_w
        self._macs_per_rank += rows_in * columns * conv.in_channels * kernel_w
        self._macs_per_rank += rows * columns * conv.out_channels * kernel_h

    def _patches(self, x: Tensor) -> Tensor:
        """(b * kW, positions): what each position of the horizontal step multiplies with its weights."""
        conv = self._conv
        kernel, dilation = conv.kernel_size[1], conv.dilation[1]
        padding = _same(kernel, dilation) if conv.padding == "same" else (0, 0)
        if not isinstance(conv.padding, str):
            padding = (conv.padding[1], conv.padding[1])
        padded = nn.functional.pad(x, padding)
        unfolded = nn.functional.unfold(padded, (1, kernel), dilation=(1, dilation), stride=(1, conv.stride[1]))
        return unfolded.permute(1, 0, 2).flatten(1)


def _same(kernel: int, dilation: int) -> tuple[int, int]:
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def _refusal(layer: ConvLayer) -> str:
    conv = layer.conv
    if type(conv).forward is not nn.Conv2d.forward or type(conv)._conv_forward is not nn.Conv2d._conv_forward:
        return f"a forward of its own ({type(conv).__name__})"
    if conv.groups != 1:
        return f"{conv.groups} groups"
    if conv.padding_mode != "zeros":
        return f"padding mode {conv.padding_mode}"
    if layer.largest_rank < 1:
        return "even rank 1 saves nothing"
    return ""
