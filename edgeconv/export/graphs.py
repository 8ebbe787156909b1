"""The ONNX graphs that every artefact is made from: the rewritten fp32 one and a Q/DQ int8 one for each scheme."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from edgeconv.errors import ExportError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Array
from edgeconv.export.golden import normalised
from edgeconv.export.jobs import ASYMMETRIC
from edgeconv.export.subject import Subject
from edgeconv.manifest import AppliedRewrite, Port

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.quantize import Grid, QuantisationResult
    from edgeconv.rewrite import RewriteReport

__all__ = ["Graphs", "make_graphs"]

_PROBES = 2
_EQUALISING_SAMPLES = 4  # channel ranges settle after four images
_IDENTICAL_DB = 300.0
NO_CALIBRATION = "int8 needs calibration data; give --calibration"

Stage = Callable[[str], AbstractContextManager[None]]


@dataclasses.dataclass(frozen=True)
class Graphs:
    """`int8` by quantisation scheme; `no_int8` says of each scheme that is not in it why."""

    fp32: ir.Model
    int8: Mapping[str, QuantisationResult]
    no_int8: Mapping[str, str]
    rewrites: list[AppliedRewrite]


def make_graphs(
    graph: ir.Model,
    subject: Subject,
    ports: Sequence[Port],
    schemes: Collection[str],
    stage: Stage,
    choices: Choices | None = None,
) -> Graphs:
    """Rewrite, simplify, calibrate and quantise the traced `graph`, for each of `schemes` from the same statistics.

    Raises:
        ExportError: the traced graph does not run, or the simplified one is not static.
        DataError: a calibration sample, or an activation on it, is not finite.
    """
    from edgeconv.export.simplify import simplify
    from edgeconv.rewrite import default_rewrites, run_rewrites

    choices = choices or Choices()
    probes = [normalised(sample, ports) for sample in subject.golden[:_PROBES]]
    with stage("rewrite"):
        reports = run_rewrites(graph, default_rewrites(), probes)
    with stage("simplify"):
        graph = simplify(graph)
    if subject.calibration is None:
        return Graphs(graph, {}, dict.fromkeys(schemes, NO_CALIBRATION), _applied(reports))
    with stage("equalise"):
        reports += _equalise(graph, subject, ports, probes, choices)
    with stage("calibrate and quantise"):
        int8, no_int8 = _quantise(graph, subject, ports, schemes, choices)
    return Graphs(graph, int8, no_int8, _applied(reports))


def _equalise(
    graph: ir.Model, subject: Subject, ports: Sequence[Port], probes: list[dict[str, Array]], choices: Choices
) -> list[RewriteReport]:
    from edgeconv.export.calibrate import collect_statistics
    from edgeconv.export.moments import collect_moments
    from edgeconv.rewrite import BalanceBottlenecks, EqualiseBottlenecks, EqualiseChannels, run_rewrites

    def few() -> Iterator[dict[str, Array]]:
        return itertools.islice(_samples(subject, ports), _EQUALISING_SAMPLES)

    reports = run_rewrites(graph, [BalanceBottlenecks(collect_moments(graph, few()))], probes)
    strength = choices.equalisation
    for rewrite in (EqualiseBottlenecks, lambda ranges: EqualiseChannels(ranges, strength)):
        tensors = collect_statistics(graph, few()).tensors  # each needs the ranges that the one before left
        ranges = {n: t.channel_max_abs for n, t in tensors.items() if t.channel_max_abs is not None}
        reports += run_rewrites(graph, [rewrite(ranges)], probes)
    return reports


def _quantise(
    graph: ir.Model, subject: Subject, ports: Sequence[Port], schemes: Collection[str], choices: Choices
) -> tuple[dict[str, QuantisationResult], dict[str, str]]:
    from edgeconv.export.calibrate import collect_statistics
    from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize

    grids = _image_grids(ports)
    made = {name: QuantisationScheme(name, choices.ranges) for name in schemes}
    if ASYMMETRIC in made:
        made[ASYMMETRIC] = dataclasses.replace(made[ASYMMETRIC], input_grid=grids, float_nodes=choices.float_nodes)
    observed = dict.fromkeys(
        tensor
        for scheme in made.values()
        for tensor in observed_tensors(graph, weighted_only=scheme.symmetric, kept_float=scheme.float_nodes)
    )
    int8: dict[str, QuantisationResult] = {}
    no_int8: dict[str, str] = {}
    try:
        statistics = collect_statistics(graph, _samples(subject, ports), tensors=observed)
    except ExportError as error:
        return int8, dict.fromkeys(schemes, str(error))
    for name, scheme in made.items():
        try:
            int8[name] = quantize(graph, statistics, _samples(subject, ports), scheme=scheme)
        except ExportError as error:
            no_int8[name] = str(error)
    return int8, no_int8


def _samples(subject: Subject, ports: Sequence[Port]) -> Iterator[dict[str, Array]]:
    if subject.calibration is not None:
        for sample in subject.calibration:
            yield normalised(sample, ports)


def _image_grids(ports: Sequence[Port]) -> dict[str, Grid]:
    """The exact int8 grid of each 8-bit image input: where all channels share it and its zero point is an integer."""
    from edgeconv.export.quantize import Grid

    grids = {}
    for port in ports:
        norm = port.normalisation
        if port.dtype != "uint8" or norm is None or len(set(norm.mean)) > 1 or len(set(norm.std)) > 1:
            continue
        zero_point = norm.mean[0] / norm.scale - 128
        if abs(zero_point - round(zero_point)) < 1e-6 and -128 <= round(zero_point) <= 127:
            grids[port.name] = Grid(norm.scale / norm.std[0], round(zero_point))
    return grids


def _applied(reports: Sequence[RewriteReport]) -> list[AppliedRewrite]:
    return [
        AppliedRewrite(
            report.name,
            report.equivalence,
            report.changed,
            report.kept,
            None if report.sqnr_db >= _IDENTICAL_DB else report.sqnr_db,
            list(report.details),
        )
        for report in reports
        if report.changed or not report.kept
    ]
