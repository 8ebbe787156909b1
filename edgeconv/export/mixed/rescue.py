"""From the int8 graph to one that meets a target: what is left in float for it, and at which price."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.benchmarks.drift import compare_outputs
from edgeconv.errors import ExportError, TargetMissedError
from edgeconv.export.data import Array
from edgeconv.export.fingerprint import Fingerprint
from edgeconv.export.golden import normalised
from edgeconv.export.graphs import Graphs, calibration_samples, quantisation_scheme, quantise_graph
from edgeconv.export.jobs import ASYMMETRIC, ConversionKey
from edgeconv.export.macs import count_macs
from edgeconv.export.mixed.report import SCHEMA_VERSION, MixedReport, Quality, Rescue, SchemeQuality, quality_told
from edgeconv.export.mixed.target import Judgement, QualityTarget
from edgeconv.export.subject import Subject
from edgeconv.manifest import Port

if TYPE_CHECKING:
    from edgeconv.benchmarks.settings import RunSettings
    from edgeconv.export.mixed.appraiser import GraphAppraiser
    from edgeconv.export.mixed.search import SearchResult
    from edgeconv.export.quantize import QuantisationResult

__all__ = ["rescue_operators"]

Progress = Callable[[str], None]


def rescue_operators(
    graphs: Graphs,
    subject: Subject,
    ports: Sequence[Port],
    target: QualityTarget,
    bundles: Sequence[Sequence[ConversionKey]],
    progress: Progress = lambda words: None,
    pricing: RunSettings | None = None,
) -> tuple[Graphs, MixedReport]:
    """Leave operators in float until the golden cases meet `target`; nothing is done where the int8 graph does.

    Args:
        graphs: with an int8 graph of asymmetric activations; symmetric ones are judged too, and stay as they are.
        subject: the model; its golden cases were kept from calibration.
        ports: its inputs.
        target: what is asked for.
        bundles: the int8 artefacts of each bundle. Prices are wanted of those with asymmetric activations; runtimes
            that this machine lacks are told in the report.
        progress: called with what is done.
        pricing: how prices are measured, `PRICING` by default.

    Raises:
        ExportError: there is no int8 graph.
        UsageError: the target names a metric and the golden cases have no targets.
        TargetMissedError: not even everything in float meets it, or a bundle's only int8 artefacts have symmetric
            activations and miss it.
    """
    from edgeconv.export.calibrate import collect_statistics
    from edgeconv.export.mixed.appraiser import GraphAppraiser, run_cases
    from edgeconv.export.mixed.candidates import find_candidates
    from edgeconv.export.mixed.price import runtimes_here
    from edgeconv.export.mixed.search import search

    int8 = graphs.int8.get(ASYMMETRIC)
    if int8 is None:
        raise ExportError(f"There is no int8 graph whose quality could be judged: {graphs.no_int8.get(ASYMMETRIC)}")
    cases = [normalised(sample, ports) for sample in subject.golden]
    names = [str(value.name) for value in graphs.fp32.graph.outputs]
    torch = [dict(zip(names, subject.run(case), strict=True)) for case in cases]
    judgement = Judgement(target, torch, subject.golden, subject.metric)
    outputs = run_cases(int8.model, cases)
    quality = judgement.quality(outputs)
    others = _other_schemes(graphs, bundles, cases, judgement)
    _refuse_missed(bundles, others, judgement)
    keys = [key for bundle in bundles for key in bundle]
    asymmetric = [key.runtime for key in keys if key.scheme == ASYMMETRIC]
    rescuable = bool(asymmetric) or not others
    there, missing = runtimes_here(asymmetric)
    report = MixedReport(
        schema_version=SCHEMA_VERSION,
        target=target.words,
        metric=judgement.metric_name if judgement.torch_metric is not None else None,
        torch_metric=judgement.torch_metric,
        cases=len(cases),
        candidates=0,
        machine="",
        int8=quality if rescuable else others[0].quality,
        int8_prices=(),
        rescues=(),
        not_priced=tuple(f"{name}: {reason}" for name, reason in missing.items()),
        others=others,
    )
    if not rescuable or judgement.met(quality):
        return graphs, report
    progress("statistics of every tensor")
    statistics = collect_statistics(graphs.fp32, calibration_samples(subject, ports))
    scheme = quantisation_scheme(ASYMMETRIC, ports, graphs.choices)
    remake = _Remake(graphs, subject, ports)
    appraiser = GraphAppraiser(graphs.fp32, statistics, scheme, int8, outputs, remake.result, cases, judgement)
    candidates = find_candidates(graphs.fp32, graphs.choices.float_nodes)
    macs = {str(node.name): count_macs(node) for node in graphs.fp32.graph}
    found = search(candidates, appraiser, macs, progress)
    if not found.met:
        raise TargetMissedError(
            f"{target.words[0].upper()}{target.words[1:]} cannot be reached, even with every operator in float: "
            f"the best was {quality_told(appraiser.best(), judgement.metric_name)}, int8 alone has "
            f"{quality_told(quality, judgement.metric_name)}. "
            "Inputs and outputs stay 8-bit.",
            "Ask for less, or deploy fp32 or fp16.",
        )
    rescues = _rescues(found, appraiser)
    report = dataclasses.replace(report, candidates=len(candidates), rescues=rescues, dropped=found.dropped)
    if there:
        report = _priced(report, found, appraiser, there, subject, ports, judgement, progress, pricing)
    return remake.graphs(appraiser.in_order(found.nodes)), report


def _other_schemes(
    graphs: Graphs,
    bundles: Sequence[Sequence[ConversionKey]],
    cases: Sequence[Mapping[str, Array]],
    judgement: Judgement,
) -> tuple[SchemeQuality, ...]:
    """The graphs of symmetric activations that a bundle has: they were quantised beside the asymmetric one."""
    from edgeconv.export.mixed.appraiser import run_cases

    runtimes: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for bundle in bundles for key in bundle):
        if key.scheme != ASYMMETRIC and key.scheme in graphs.int8:
            runtimes.setdefault(key.scheme, []).append(key.runtime)
    found = []
    for scheme, names in runtimes.items():
        quality = judgement.quality(run_cases(graphs.int8[scheme].model, cases))
        found.append(SchemeQuality(scheme, tuple(dict.fromkeys(names)), quality, judgement.met(quality)))
    return tuple(found)


def _refuse_missed(
    bundles: Sequence[Sequence[ConversionKey]], others: Sequence[SchemeQuality], judgement: Judgement
) -> None:
    """Raise `TargetMissedError` where no int8 artefact of a bundle would have the quality."""
    words = judgement.target.words
    missed = {one.scheme: one for one in others if not one.met}
    for bundle in bundles:
        if not bundle or any(key.scheme not in missed for key in bundle):
            continue
        worst = missed[bundle[0].scheme]
        raise TargetMissedError(
            f"{words[0].upper()}{words[1:]} cannot be reached by any int8 artefact of a bundle: that of "
            f"{bundle[0].runtime} has {worst.scheme} activations, in which no operator can be left in float, and "
            f"{quality_told(worst.quality, judgement.metric_name)}.",
            "Ask for less, add a runtime with asymmetric activations, or deploy fp32 or fp16.",
        )


class _Remake:
    """Quantises anew as the export does, so that the recipe's choices repeat the same bytes."""

    def __init__(self, graphs: Graphs, subject: Subject, ports: Sequence[Port]) -> None:
        self._graphs, self._subject, self._ports = graphs, subject, ports
        self._made: dict[tuple[str, ...], Graphs] = {}

    def result(self, float_nodes: tuple[str, ...]) -> QuantisationResult:
        return self.graphs(float_nodes).int8[ASYMMETRIC]

    def graphs(self, float_nodes: tuple[str, ...]) -> Graphs:
        if float_nodes not in self._made:
            self._made[float_nodes] = self._make(float_nodes)
        return self._made[float_nodes]

    def _make(self, float_nodes: tuple[str, ...]) -> Graphs:
        old = self._graphs
        choices = dataclasses.replace(old.choices, float_nodes=(*old.choices.float_nodes, *float_nodes))
        schemes = [*old.int8, *old.no_int8]
        fingerprint = Fingerprint("", [port.name for port in self._ports])
        made = quantise_graph(old.fp32, self._subject, self._ports, schemes, choices, fingerprint)
        if ASYMMETRIC not in made.int8:
            raise ExportError(f"The graph cannot be quantised with operators in float: {made.no_int8[ASYMMETRIC]}")
        return dataclasses.replace(old, int8=made.int8, no_int8=made.no_int8, choices=choices)


def _rescues(found: SearchResult, appraiser: GraphAppraiser) -> tuple[Rescue, ...]:
    rescues, nodes = [], list[str]()
    for accepted in found.accepted:
        nodes += accepted.operators
        candidate = accepted.candidate
        rescues.append(Rescue(candidate.name, candidate.kind, accepted.operators, appraiser.exact(nodes)[1]))
    return tuple(rescues)


def _priced(
    report: MixedReport,
    found: SearchResult,
    appraiser: GraphAppraiser,
    runtimes: Sequence[str],
    subject: Subject,
    ports: Sequence[Port],
    judgement: Judgement,
    progress: Progress,
    pricing: RunSettings | None,
) -> MixedReport:
    """The report with the prices of the int8 graph and of the graph after each rescue."""
    from edgeconv.export.mixed.price import PRICING, PricedGraph, price_graphs

    graphs, nodes = [PricedGraph("int8", appraiser.exact(())[0].model)], list[str]()
    for accepted in found.accepted:
        nodes += accepted.operators
        graphs.append(PricedGraph(accepted.candidate.name, appraiser.exact(nodes)[0].model))
    torch = judgement.torch
    expected = {name: np.stack([case[name] for case in torch]) for name in torch[0]}
    golden = {f"input.{port.name}": np.stack([case[port.name] for case in subject.golden]) for port in ports}
    golden |= {f"torch.{name}": array for name, array in expected.items()}
    outputs = [
        Port(name, list(array.shape[1:]), "float32", "NCHW" if array.ndim == 5 else "as-is")
        for name, array in expected.items()
    ]

    def judge(arrays: Mapping[str, Array]) -> Quality:
        compare_outputs(expected, arrays)  # refuses what cannot be compared
        return judgement.quality([{name: arrays[name][i] for name in expected} for i in range(len(torch))])

    prices, machine = price_graphs(graphs, runtimes, ports, outputs, golden, judge, pricing or PRICING, progress)
    rescues = [dataclasses.replace(one, prices=price) for one, price in zip(report.rescues, prices[1:], strict=True)]
    return dataclasses.replace(report, machine=machine, int8_prices=prices[0], rescues=tuple(rescues))
