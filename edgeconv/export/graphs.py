"""The ONNX graphs that every artefact is made from: the rewritten fp32 one and a Q/DQ int8 one for each scheme."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from edgeconv.errors import ExportError, UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Array, Sample
from edgeconv.export.fingerprint import CalibrationData, Fingerprint
from edgeconv.export.golden import normalised
from edgeconv.export.jobs import ASYMMETRIC
from edgeconv.export.prepare import PreparedGraph, Stage, adapt_graph, compress_gates, prepare_graph
from edgeconv.export.subject import Subject
from edgeconv.manifest import AppliedRewrite, Port
from edgeconv.wording import listed

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.learn import LearnReport
    from edgeconv.export.quantize import Grid, QuantisationResult, QuantisationScheme
    from edgeconv.export.search import SearchReport
    from edgeconv.rewrite import RewriteReport

__all__ = ["Graphs", "Improve", "calibration_samples", "make_graphs", "quantisation_scheme", "quantise_graph"]

_PROBES = 1  # of the golden cases, beside a synthetic one
_IDENTICAL_DB = 300.0
NO_CALIBRATION = "int8 needs calibration data; give --calibration"


@dataclasses.dataclass(frozen=True)
class Graphs:
    """`int8` by quantisation scheme; `no_int8` says of each scheme that is not in it why.

    `choices` are those that it was made with, `search` is what was tried to find them; `learn` is what learning gained;
    `calibration` is what was calibrated with, None without data.
    """

    fp32: ir.Model
    int8: Mapping[str, QuantisationResult]
    no_int8: Mapping[str, str]
    rewrites: list[AppliedRewrite]
    choices: Choices
    calibration: CalibrationData | None
    search: SearchReport | None = None
    learn: LearnReport | None = None

    @property
    def int8_models(self) -> dict[str, ir.Model]:
        """The Q/DQ graphs by quantisation scheme."""
        return {scheme: quantised.model for scheme, quantised in self.int8.items()}


Improve = Callable[[PreparedGraph, Choices], tuple[Choices, "SearchReport | None"]]
"""Choices that are better than the given ones, and what was tried to find them."""


def make_graphs(
    traced: ir.Model,
    subject: Subject,
    ports: Sequence[Port],
    schemes: Collection[str],
    stage: Stage,
    choices: Choices | None = None,
    improve: Improve | None = None,
    settle: bool = False,
    learn_seconds: float | None = None,
) -> Graphs:
    """Rewrite, simplify, calibrate and quantise the `traced` graph, for each of `schemes` from the same statistics.

    Args:
        traced: the graph as it was exported; it is used up.
        subject: the model and its data.
        ports: its inputs.
        schemes: names of quantisation schemes.
        stage: announces what begins.
        choices: what to decide how; the defaults without them.
        improve: finds better choices before anything is quantised for good.
        settle: decide by measurement between the ranges of `choices` and minima and maxima; see `settle_ranges`.
        learn_seconds: how long to learn about, instead of the steps that `choices` have.

    Raises:
        ExportError: the traced graph does not run, or the simplified one is not static.
        UsageError: `choices` names a node that the graph does not have, or there are no data for what needs them.
        DataError: a calibration sample, or an activation on it, is not finite.
    """
    if subject.calibration is None and (names := _needing_data(choices or Choices())):
        raise UsageError(
            f"The recipe has {listed(names, most=5)}, which need calibration data to be repeated.",
            "Give --calibration.",
        )
    probes = [normalised(sample, ports) for sample in subject.golden[:_PROBES]]
    prepared = prepare_graph(traced, probes, stage)
    choices, search = choices or Choices(), None
    if improve is not None:
        with stage("search"):
            choices, search = improve(prepared, choices)
    if subject.calibration is None:
        no_int8 = dict.fromkeys(schemes, NO_CALIBRATION)
        applied = _applied([*prepared.reports, *compress_gates(prepared.model, probes, choices)])
        return Graphs(prepared.model, {}, no_int8, applied, choices, None, search)
    with stage("equalise"):
        adapted = adapt_graph(prepared, lambda: calibration_samples(subject, ports), choices)
    fingerprint = Fingerprint(subject.calibration.description, [port.name for port in ports])
    with stage("calibrate and quantise"):
        quantised = quantise_graph(adapted.model, subject, ports, schemes, choices, fingerprint, settle=settle)
    made = Graphs(
        adapted.model,
        quantised.int8,
        quantised.no_int8,
        _applied([*prepared.reports, *adapted.reports]),
        quantised.choices,
        fingerprint.data(),
        search,
    )
    if learn_seconds is None and not choices.learn_steps:
        return made
    with stage("learn"):
        return _learned(made, prepared, subject, ports, learn_seconds)


def _needing_data(choices: Choices) -> list[str]:
    """Choices that are not the defaults and are of no effect without calibration data."""
    fields = ("tensor_ranges", "merged_pairs", "float_nodes", "ranks", "learn_steps")
    return [name for name in fields if getattr(choices, name)]


def _learned(
    graphs: Graphs, prepared: PreparedGraph, subject: Subject, ports: Sequence[Port], seconds: float | None
) -> Graphs:
    """`graphs` with what was learned, where it was kept; `choices` then have the steps."""
    from edgeconv.export.learn.learn import Amount, learn

    closed = graphs.int8.get(ASYMMETRIC)
    if closed is None or subject.calibration is None:
        return graphs
    choices = graphs.choices
    amount = Amount(choices.learn_steps) if seconds is None else Amount(seconds=seconds)
    result, report = learn(prepared.model, closed, ports, subject.calibration, amount, choices.float_nodes)
    report = dataclasses.replace(report, not_learned=tuple(scheme for scheme in graphs.int8 if scheme != ASYMMETRIC))
    choices = dataclasses.replace(choices, learn_steps=report.steps if report.accepted else 0)
    return dataclasses.replace(graphs, int8={**graphs.int8, ASYMMETRIC: result}, choices=choices, learn=report)


@dataclasses.dataclass(frozen=True)
class QuantisedGraph:
    """A Q/DQ graph for each scheme, why one could not be made, and the choices that they were made with."""

    int8: Mapping[str, QuantisationResult]
    no_int8: Mapping[str, str]
    choices: Choices


def quantise_graph(
    graph: ir.Model,
    subject: Subject,
    ports: Sequence[Port],
    schemes: Collection[str],
    choices: Choices,
    fingerprint: Fingerprint,
    *,
    settle: bool = False,
) -> QuantisedGraph:
    """Quantise the fp32 `graph` in each scheme.

    The calibration samples pass through `fingerprint`. The same arguments give the same bytes. With `settle` the
    estimator of the ranges is decided by measurement.
    """
    from edgeconv.export.calibrate import collect_statistics
    from edgeconv.export.quantize import observed_tensors, quantize
    from edgeconv.export.settle_ranges import settle_ranges

    made = {name: quantisation_scheme(name, ports, choices) for name in schemes}
    observed = dict.fromkeys(
        tensor
        for scheme in made.values()
        for tensor in observed_tensors(graph, placement=scheme.placement, kept_float=scheme.float_nodes)
    )
    int8: dict[str, QuantisationResult] = {}
    no_int8: dict[str, str] = {}
    try:
        samples = calibration_samples(subject, ports, fingerprint.through)
        statistics = collect_statistics(graph, samples, tensors=observed)
        if settle:
            choices = settle_ranges(graph, statistics, calibration_samples(subject, ports), ports, choices)
            made = {name: quantisation_scheme(name, ports, choices) for name in schemes}
    except ExportError as error:
        return QuantisedGraph({}, dict.fromkeys(schemes, str(error)), choices)
    for name, scheme in made.items():
        try:
            int8[name] = quantize(graph, statistics, calibration_samples(subject, ports), scheme=scheme)
        except ExportError as error:
            no_int8[name] = str(error)
    return QuantisedGraph(int8, no_int8, choices)


def quantisation_scheme(name: str, ports: Sequence[Port], choices: Choices) -> QuantisationScheme:
    """How the scheme `name` quantises: symmetric activations have neither grids of their own nor float operators."""
    from edgeconv.export.quantize import QuantisationScheme

    scheme = QuantisationScheme(name, choices.ranges, tensor_ranges=choices.tensor_ranges)
    if name != ASYMMETRIC:
        return scheme
    return dataclasses.replace(scheme, input_grid=_image_grids(ports), float_nodes=choices.float_nodes)


def calibration_samples(
    subject: Subject, ports: Sequence[Port], through: Callable[[Iterable[Sample]], Iterable[Sample]] = iter
) -> Iterator[dict[str, Array]]:
    """The normalised calibration samples; raw, they pass `through`."""
    if subject.calibration is not None:
        for sample in through(subject.calibration):
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
