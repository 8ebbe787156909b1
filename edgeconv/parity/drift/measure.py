"""From a bundle to its drift report."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.benchmarks.drift import golden_outputs
from edgeconv.benchmarks.run import run_benchmark, select_artifacts
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import Bundle
from edgeconv.errors import BundleError, DataError, UsageError
from edgeconv.export.jobs import qdq_reference, scheme_of
from edgeconv.manifest import Artifact
from edgeconv.parity.drift.record import (
    SCHEMA_VERSION,
    ArtifactDrift,
    DriftReport,
    LayerError,
    NetworkError,
    OnTarget,
)
from edgeconv.sqnr import Power

if TYPE_CHECKING:
    from edgeconv.export.operator_parity import OperatorParity
    from edgeconv.parity.drift.switches import SwitchedGraph

__all__ = ["measure_drift", "measure_layers"]

Step = Callable[[int, int, str], None]
_Arrays = dict[str, npt.NDArray[np.generic]]
_INT8, _FP32 = "int8", "fp32"
_MOST_CASES = 2  # each layer is run on each of them
_SAME_DB = {_FP32: 90.0, _INT8: 40.0}  # on another processor a Q/DQ graph may round the other way here and there


def measure_drift(
    bundle: Bundle, target: str = "local:", runtimes: Sequence[str] = (), step: Step = lambda done, total, what: None
) -> DriftReport:
    """End to end: every artefact of `runtimes` (all by default) on the golden cases, in its parts.

    Raises:
        UsageError: there is no such artefact.
        DeviceError: the target cannot be reached, or its Python cannot run the agent.
    """
    record = run_benchmark(bundle, target, runtimes=runtimes, settings=RunSettings.quick(), progress=step)
    rows = [
        ArtifactDrift(r.runtime, r.precision, r.drift, r.task, "" if r.drift else "; ".join(r.invalid_reasons))
        for r in record.results
    ]
    count = sum(1 for _ in read_cases(bundle.golden, bundle.manifest.inputs))
    return _report(bundle, target, list(range(count)), rows, "", None, [], [])


def measure_layers(
    bundle: Bundle,
    target: str = "local:",
    runtimes: Sequence[str] = (),
    case: int | None = None,
    step: Step = lambda done, total, what: None,
) -> DriftReport:
    """Layer by layer: simulated here for each layer alone, and in the int8 artefacts' own tensors on the target.

    Args:
        bundle: with an fp32 and an int8 ONNX graph.
        target: where the runtimes run.
        runtimes: only these, all that have an int8 artefact by default.
        case: the golden case to look at; the first two by default.
        step: called with (done, total, what is next).

    Raises:
        UsageError: there is no such case, or no int8 artefact of those runtimes.
        BundleError: the bundle lacks one of the graphs, or they are not of the network that made its golden cases.
        DeviceError: the target cannot be reached, or its Python cannot run the agent.
    """
    from edgeconv.export.onnxruntime import read_graph
    from edgeconv.graph import load_graph
    from edgeconv.parity.drift.on_target import check_operators_on
    from edgeconv.parity.drift.simulate import simulate
    from edgeconv.parity.drift.switches import SwitchedGraph
    from edgeconv.rewrite import FoldConstants

    artifacts = select_artifacts(bundle, runtimes, [_INT8])
    fp32, int8 = _graphs(bundle, artifacts)
    indices, cases = _cases(bundle, case)
    ports = {port.name: port for port in bundle.manifest.inputs}
    feeds = [{name: normalise(array, ports[name]) for name, array in raw.items()} for raw in cases]
    model, original = read_graph(bundle.directory / int8.path), load_graph(bundle.directory / fp32.path)
    for one in (model, original):  # a gate's map that is computed from constants is a constant of its operator
        FoldConstants().apply(one)
    graph = SwitchedGraph(original, model)
    _check_golden(bundle, graph, indices, feeds, int8)
    network, simulated = simulate(graph, feeds, step)

    problems: list[str] = []
    power = _running(target, bundle, artifacts, graph, cases, feeds, step, problems)
    scheme = scheme_of(int8.reference)
    lowered = {a.runtime: a.facts.get("activations", _INT8) for a in artifacts if scheme_of(a.reference) == scheme}
    checked = check_operators_on(target, bundle, model, feeds[0], lowered, step, problems)
    steps = {(row.runtime, row.name): row for row in checked}
    others = [a.runtime for a in artifacts if a.runtime not in lowered]
    if others:
        problems.append(
            f"{', '.join(others)}: made from another quantisation scheme than {int8.path}, so its operators are not "
            f"checked one by one, and its layers are rounded otherwise than simulated."
        )
    total = sum(entry.output_noise for entry in simulated)
    rows = [
        LayerError(
            number,
            entry.layer.name,
            entry.layer.operator,
            entry.layer.module,
            bool(entry.switches),
            own.at_output,
            own.own,
            own.output_noise / total if total else 0.0,
            own.cumulative_db,
            [
                _on_target(a.runtime, power.get((a.runtime, entry.tensor)), steps.get((a.runtime, entry.node)))
                for a in artifacts
            ],
        )
        for number, (entry, own) in enumerate(zip(graph.layers, simulated, strict=True), start=1)
    ]
    return _report(bundle, target, indices, [], qdq_reference(scheme), network, rows, problems)


def _running(
    target: str,
    bundle: Bundle,
    artifacts: Sequence[Artifact],
    graph: SwitchedGraph,
    cases: Sequence[_Arrays],
    feeds: Sequence[_Arrays],
    step: Step,
    problems: list[str],
) -> dict[tuple[str, str], Power]:
    """The running int8 network of each artefact against fp32, by runtime and tensor."""
    from edgeconv.parity.drift.on_target import read_layers_on

    power: dict[tuple[str, str], Power] = {}
    tensors = {entry.layer.name: entry.tensor for entry in graph.layers}
    layers = [entry.layer for entry in graph.layers]
    for artifact, outputs in read_layers_on(target, bundle, artifacts, layers, cases, step, problems):
        for index, sample in enumerate(feeds):
            exact = graph.run(sample, (), [tensors[name] for name in outputs])
            for name, found in outputs.items():
                own = power.setdefault((artifact.runtime, tensors[name]), Power())
                own.add(exact[tensors[name]], found[index])
    return power


def _on_target(runtime: str, read: Power | None, row: OperatorParity | None) -> OnTarget:
    return OnTarget(
        runtime,
        read is not None,
        read.db if read is not None else None,
        row.max_steps if row is not None else None,
        row.differing if row is not None else None,
    )


def _check_golden(
    bundle: Bundle, graph: SwitchedGraph, indices: Sequence[int], feeds: Sequence[_Arrays], int8: Artifact
) -> None:
    """Both ends of the switches against the golden outputs: the figures are of this network, or there are none."""

    arrays = bundle.golden_arrays()
    every = {switch for entry in graph.layers for switch in entry.switches}
    stored = qdq_reference(scheme_of(int8.reference))
    for precision, reference, on in ((_FP32, "onnx", set[str]()), (_INT8, stored, every)):
        try:
            golden = golden_outputs(arrays, reference)
        except DataError as error:
            raise BundleError(f"{bundle.golden}: {error}", "Export the bundle again.") from error
        power = Power()
        for index, sample in zip(indices, feeds, strict=True):
            for port, found in graph.run(sample, on, graph.outputs).items():
                power.add(golden[port][index], found)
        if power.db is not None and power.db < _SAME_DB[precision]:
            raise BundleError(
                f"The {precision} ONNX graph of bundle {bundle.manifest.name} is at {power.db:.1f} dB of its own "
                f"golden outputs; {_SAME_DB[precision]:.0f} are needed.",
                "Its files do not belong together; export it again.",
            )


def _report(
    bundle: Bundle,
    target: str,
    cases: list[int],
    artifacts: list[ArtifactDrift],
    scheme: str,
    network: NetworkError | None,
    layers: list[LayerError],
    notes: list[str],
) -> DriftReport:
    manifest = bundle.manifest
    return DriftReport(
        SCHEMA_VERSION, manifest.name, bundle.manifest_sha256, target, cases, artifacts, scheme, network, layers, notes
    )


def _graphs(bundle: Bundle, artifacts: Sequence[Artifact]) -> tuple[Artifact, Artifact]:
    """The fp32 ONNX graph, and the int8 one that most of `artifacts` were lowered from."""
    graphs = [a for a in bundle.manifest.artifacts if a.path.endswith(".onnx")]
    fp32 = next((a for a in graphs if a.precision == _FP32), None)
    wanted = [scheme_of(a.reference) for a in artifacts]
    found = [a for a in graphs if a.precision == _INT8 and scheme_of(a.reference) in wanted]
    int8 = max(found, key=lambda a: wanted.count(scheme_of(a.reference)), default=None)
    if fp32 is None or int8 is None:
        missing = " and ".join(p for p, a in ((_FP32, fp32), (_INT8, int8)) if a is None)
        raise BundleError(
            f"Bundle {bundle.manifest.name} has no {missing} ONNX graph, so its layers cannot be told apart.",
            "Export it for a device whose profile has onnxruntime in both precisions.",
        )
    return fp32, int8


def _cases(bundle: Bundle, case: int | None) -> tuple[list[int], list[_Arrays]]:
    first, count = (0, _MOST_CASES) if case is None else (case, 1)
    if first < 0:
        raise UsageError(f"There is no golden case {first}.", "They are counted from 0.")
    cases = list(itertools.islice(read_cases(bundle.golden, bundle.manifest.inputs), first, first + count))
    if not cases:
        there = sum(1 for _ in read_cases(bundle.golden, bundle.manifest.inputs))
        raise UsageError(f"There is no golden case {first}.", f"The bundle has {there}, counted from 0.")
    return list(range(first, first + len(cases))), cases
