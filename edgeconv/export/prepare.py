"""The fp32 graph that is quantised: what every choice shares is made once, what a choice decides on a copy of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from edgeconv.errors import UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Array

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.rewrite import Rewrite, RewriteReport

__all__ = ["AdaptedGraph", "PreparedGraph", "SampleStream", "Stage", "adapt_graph", "compress_gates", "prepare_graph"]

_EQUALISING_SAMPLES = 4  # channel ranges settle after four images

Stage = Callable[[str], AbstractContextManager[None]]

SampleStream = Callable[[], Iterator[dict[str, Array]]]
"""Begins anew to yield the normalised calibration samples, without holding them in memory."""


@dataclasses.dataclass(frozen=True)
class PreparedGraph:
    """The traced graph after the rewrites that need neither data nor a choice, which were checked on `probes`."""

    model: ir.Model
    reports: tuple[RewriteReport, ...]
    probes: Sequence[Mapping[str, Array]]


@dataclasses.dataclass(frozen=True)
class AdaptedGraph:
    """The graph that is quantised, and the rewrites that made it of the prepared one."""

    model: ir.Model
    reports: tuple[RewriteReport, ...]


def prepare_graph(traced: ir.Model, probes: Sequence[Mapping[str, Array]], stage: Stage) -> PreparedGraph:
    """Rewrite and simplify `traced`, which is used up.

    Args:
        traced: the graph as it was exported.
        probes: normalised inputs that each rewrite is checked on.
        stage: announces what begins.

    Raises:
        ExportError: the traced graph does not run, or the simplified one is not static.
    """
    from edgeconv.export.simplify import simplify
    from edgeconv.rewrite import default_rewrites, run_rewrites

    with stage("rewrite"):
        reports = run_rewrites(traced, default_rewrites(), probes)
    with stage("simplify"):
        model = simplify(traced)
    return PreparedGraph(model, tuple(reports), probes)


def adapt_graph(prepared: PreparedGraph, samples: SampleStream, choices: Choices) -> AdaptedGraph:
    """A copy of the prepared graph: pairs truncated or merged, channels balanced for rounding, gates as `choices` asks.

    Raises:
        UsageError: `choices` names a node that the graph does not have.
        DataError: a calibration sample, or an activation on it, is not finite.
    """
    from edgeconv.export.bottlenecks import collect_moments, draw_vectors
    from edgeconv.export.calibrate import collect_channel_ranges
    from edgeconv.rewrite import BalanceBottlenecks, EqualiseBottlenecks, EqualiseChannels, MergePairs, run_rewrites
    from edgeconv.rewrite.truncate_pairs import TruncatePairs

    model = prepared.model.clone()

    def few() -> Iterator[dict[str, Array]]:
        return itertools.islice(samples(), _EQUALISING_SAMPLES)

    def rewrites() -> Iterator[Rewrite]:
        """Each is made when its turn comes: statistics are of the graph as it is by then."""
        if choices.ranks:
            yield TruncatePairs(choices.ranks, collect_moments(model, few()))
        if choices.merged_pairs:
            yield MergePairs(choices.merged_pairs)
        _check_names((prepared.model, model), choices)
        if choices.balancing:
            yield BalanceBottlenecks(draw_vectors(model, few()))
        ranges = collect_channel_ranges(model, few())  # of bottlenecks, and of the rest: each reads its own
        yield EqualiseBottlenecks(ranges)
        yield EqualiseChannels(ranges, choices.equalisation)
        yield from _gate_rewrites(choices)

    return AdaptedGraph(model, tuple(run_rewrites(model, rewrites(), prepared.probes)))


def compress_gates(model: ir.Model, probes: Sequence[Mapping[str, Array]], choices: Choices) -> list[RewriteReport]:
    """Store the gates of `model`, in place, as `choices` asks."""
    from edgeconv.rewrite import run_rewrites

    return run_rewrites(model, rewrites, probes) if (rewrites := _gate_rewrites(choices)) else []


def _gate_rewrites(choices: Choices) -> list[Rewrite]:
    """The last rewrite, for the others read gates as maps."""
    from edgeconv.rewrite import CompressGates
    from edgeconv.rewrite.compress_gates import FOLDED

    return [] if choices.gates == FOLDED else [CompressGates(choices.gates, choices.gate_rank)]


def _check_names(models: Sequence[ir.Model], choices: Choices) -> None:
    """A range of a tensor that only the graph before merging has is none too many: it belonged to another choice."""
    nodes = {str(node.name) for model in models for node in model.graph}
    tensors = {str(value.name) for model in models for value in model.graph.inputs}
    tensors |= {str(value.name) for model in models for node in model.graph for value in node.outputs}
    wanted = (("operator", choices.float_nodes, nodes), ("tensor", choices.tensor_ranges, tensors))
    for what, names, known in wanted:
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(
                f"The graph has no {what} {unknown[0]!r}.",
                "Choices fit the model that they were made for, whose bundle has the names in models/model.fp32.onnx.",
            )
