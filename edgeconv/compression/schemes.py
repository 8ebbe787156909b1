"""What each factorisation scheme would save and lose for each convolution of a model, at the same number of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.factorised import (
    ChannelSvd,
    ConvShape,
    CpConv,
    DepthwiseSeparable,
    Factorised,
    PointwiseFirstSvd,
    Tucker2,
)
from edgeconv.layers.sfconv import SFConv2d

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["SchemeCell", "SchemeRow", "SchemeTable", "compare_schemes", "scheme_names", "schemes_table"]

_Merging = Factorised | SFConv2d
_Fit = tuple[list[int], int, Callable[[nn.Conv2d], _Merging]]


@dataclasses.dataclass(frozen=True)
class SchemeCell:
    """One scheme for one layer: its ranks, its share of the dense weights, the relative error of the merged kernel."""

    ranks: list[int]
    weight_share: float
    kernel_error: float


@dataclasses.dataclass(frozen=True)
class SchemeRow:
    """One convolution; a scheme is absent where it cannot be had within the budget."""

    name: str
    kernel: list[int]  # F, C, kH, kW
    weights: int
    cells: dict[str, SchemeCell]


@dataclasses.dataclass(frozen=True)
class SchemeTable:
    """All convolutions of a model, every scheme within `share` of the weights."""

    model: str
    share: float
    rows: list[SchemeRow]


def compare_schemes(
    model: nn.Module, share: float = 0.25, progress: Callable[[int, int, str], None] = lambda done, total, name: None
) -> list[SchemeRow]:
    """Fit every scheme to every plain convolution, each with the largest ranks that fit in `share` of its weights.

    Grouped convolutions and ones with named or non-zero padding are left out.

    Raises:
        UsageError: `share` is not between 0 and 1.
        ModelError: there is no convolution that a scheme can stand for.
    """
    if not 0 < share <= 1:
        raise UsageError(f"A share of {share} of the weights was asked for; expected more than 0 and at most 1.")
    convs = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and _plain(m)]
    if not convs:
        raise ModelError("The model has no plain Conv2d.", "Grouped convolutions are not factored.")
    rows = []
    for index, (name, conv) in enumerate(convs):
        progress(index, len(convs), name)
        shape = ConvShape.of(conv)
        budget = int(share * shape.dense_parameters)
        cells = {}
        for scheme, fit in _SCHEMES.items():
            fitted = fit(shape, budget)
            if fitted is not None:
                ranks, count, build = fitted
                cells[scheme] = SchemeCell(ranks, count / shape.dense_parameters, _error(build(conv), conv))
        rows.append(SchemeRow(name, list(conv.weight.shape), shape.dense_parameters, cells))
    progress(len(convs), len(convs), "done")
    return rows


def scheme_names() -> list[str]:
    """The schemes that are compared."""
    return list(_SCHEMES)


def schemes_table(table: SchemeTable) -> Table:
    """For a terminal: the relative error of each scheme's kernel, with its ranks; the best of a layer is green."""
    from rich.markup import escape

    from edgeconv.tables import plain_table

    title = f"{table.model}: kernel error within {table.share:.0%} of each layer's weights"
    view = plain_table("layer", title=title)
    for column in ("kernel", *scheme_names()):
        view.add_column(column, justify="right")
    for row in table.rows:
        best = min((cell.kernel_error for cell in row.cells.values()), default=0.0)
        cells = []
        for scheme in scheme_names():
            cell = row.cells.get(scheme)
            if cell is None:
                cells.append("–")
                continue
            words = f"{cell.kernel_error:.1%}" + (f" r{','.join(map(str, cell.ranks))}" if cell.ranks else "")
            cells.append(f"[green]{words}[/]" if cell.kernel_error <= best else words)
        view.add_row(escape(row.name), "x".join(map(str, row.kernel)), *cells)
    return view


def _plain(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _error(factored: _Merging, conv: nn.Conv2d) -> float:
    with torch.no_grad():
        dense = conv.weight.double()
        return float((factored.merge().weight.double() - dense).norm() / dense.norm().clamp_min(1e-300))


def _spatial(shape: ConvShape, budget: int) -> _Fit | None:
    kernel_h, kernel_w = shape.kernel_size
    each = shape.out_channels * kernel_h + shape.in_channels * kernel_w
    rank = min(budget // each, shape.out_channels * kernel_h, shape.in_channels * kernel_w)
    return None if rank < 1 else ([rank], rank * each, lambda conv: SFConv2d.from_conv(conv, rank))


def _depthwise(shape: ConvShape, budget: int) -> _Fit | None:
    count = DepthwiseSeparable.weight_count(shape)
    return None if count > budget else ([], count, DepthwiseSeparable.from_conv)


def _channel(shape: ConvShape, budget: int) -> _Fit | None:
    rank = min(budget // ChannelSvd.weight_count(shape, 1), ChannelSvd.largest_rank(shape))
    count = ChannelSvd.weight_count(shape, rank)
    return None if rank < 1 else ([rank], count, lambda conv: ChannelSvd.from_conv(conv, rank))


def _pointwise_first(shape: ConvShape, budget: int) -> _Fit | None:
    rank = min(budget // PointwiseFirstSvd.weight_count(shape, 1), PointwiseFirstSvd.largest_rank(shape))
    count = PointwiseFirstSvd.weight_count(shape, rank)
    return None if rank < 1 else ([rank], count, lambda conv: PointwiseFirstSvd.from_conv(conv, rank))


def _tucker(shape: ConvShape, budget: int) -> _Fit | None:
    """Both ranks the same share of their channels."""
    inner, outer, steps = shape.in_channels, shape.out_channels, max(shape.in_channels, shape.out_channels)
    for step in range(steps, 0, -1):
        ranks = max(1, inner * step // steps), max(1, outer * step // steps)
        count = Tucker2.weight_count(shape, *ranks)
        if count <= budget:
            return list(ranks), count, lambda conv, ranks=ranks: Tucker2.from_conv(conv, *ranks)
    return None


def _cp(shape: ConvShape, budget: int) -> _Fit | None:
    rank = min(budget // CpConv.weight_count(shape, 1), CpConv.largest_rank(shape))
    count = CpConv.weight_count(shape, rank)
    return None if rank < 1 else ([rank], count, lambda conv: CpConv.from_conv(conv, rank))


_SCHEMES: dict[str, Callable[[ConvShape, int], _Fit | None]] = {
    "spatial": _spatial,
    "depthwise": _depthwise,
    "channel": _channel,
    "1x1 first": _pointwise_first,
    "tucker-2": _tucker,
    "cp": _cp,
}
