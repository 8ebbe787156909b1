"""What a graph costs in each runtime on this machine: converted, then timed in turns with the int8 graph."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.campaign import Measured, run_campaign
from edgeconv.benchmarks.ratios import median_ratio
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, TargetAgents
from edgeconv.bundles import load_bundle
from edgeconv.devices.profile import load_profile
from edgeconv.devices.transports import open_transport
from edgeconv.errors import DataError, RuntimeUnavailableError
from edgeconv.export.bundle import bare_manifest, write_bundle
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.jobs import ASYMMETRIC, ConversionKey
from edgeconv.export.lowering import Lowered, lower
from edgeconv.export.mixed.report import Price, Quality
from edgeconv.manifest import Failure, Port
from edgeconv.records import Host
from edgeconv.runtimes import get_runtime, runtime_names

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["PRICING", "PricedGraph", "price_graphs", "runtimes_here"]

_INT8, _HOST = "int8", "host"
_THREADS = 1

PRICING = RunSettings(LatencyProtocol(min_seconds=1.5, min_count=45, extra_seconds=1.5), rounds=3, attempts=1)
"""Short: a price is a difference of graphs that are timed in turns, not a figure to be quoted by itself."""

Progress = Callable[[str], None]
OutputsQuality = Callable[[Mapping[str, np.ndarray]], Quality]


@dataclasses.dataclass(frozen=True)
class PricedGraph:
    """A Q/DQ graph to be timed."""

    name: str
    model: ir.Model


def runtimes_here(wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Those of `wanted` that this machine has, and why it does not have the others."""
    there, missing = [], {}
    for name in dict.fromkeys(wanted):
        if name not in runtime_names():
            missing[name] = "it runs on the device only"
            continue
        try:
            get_runtime(name).version()
            there.append(name)
        except RuntimeUnavailableError as error:
            missing[name] = error.message
    return there, missing


def price_graphs(
    graphs: Sequence[PricedGraph],
    runtimes: Sequence[str],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    golden: GoldenArrays,
    judge: OutputsQuality,
    settings: RunSettings = PRICING,
    progress: Progress = lambda words: None,
) -> tuple[list[tuple[Price, ...]], str]:
    """The prices of each graph in each runtime, and the machine that they are of; all are compared with the first.

    Args:
        graphs: Q/DQ graphs with the same inputs and outputs.
        runtimes: that this machine has.
        inputs: ports of the model.
        outputs: likewise.
        golden: `input.<port>` and `torch.<port>` of the golden cases.
        judge: the quality of a runtime's outputs, stacked over the cases, by port.
        settings: of the measurement.
        progress: called with what is done.
    """
    cases = {name: array for name, array in golden.items() if name.split(".")[0] in ("input", "torch")}
    results: dict[tuple[int, str], Measured] = {}
    machine = ""
    with tempfile.TemporaryDirectory(prefix="edgeconv-price-") as temporary:
        lowered = [_lower(graph, runtimes, Path(temporary) / f"graph-{i}", progress) for i, graph in enumerate(graphs)]
        made = {
            (index, runtime): outcome
            for index, outcomes in enumerate(lowered)
            for runtime, outcome in outcomes.items()
            if isinstance(outcome, Lowered)
        }
        bundles = []
        for index in dict.fromkeys(index for index, _ in made):
            files = [one for (of, _), one in made.items() if of == index]
            manifest = bare_manifest(
                graphs[index].name, __name__, _HOST, inputs, outputs, [one.artifact for one in files]
            )
            sources = {path: file for one in files for path, file in one.files.items()}
            write_bundle(Path(temporary) / f"bundle-{index}", manifest, sources, cases)
            bundles.append(load_bundle(Path(temporary) / f"bundle-{index}"))
        if bundles:
            with contextlib.closing(open_transport("local:")) as transport:
                agents = TargetAgents(transport, bundles)
                plans = [Measurement(one.artifact, _THREADS, settings.protocol) for one in made.values()]
                measured = run_campaign(agents, plans, settings, lambda done, of, _: progress(f"timing {done} of {of}"))
                machine = _words(agents.host())
            results = dict(zip(made, measured, strict=True))
    prices = [
        tuple(
            _price(runtime, lowered[index][runtime], results.get((index, runtime)), results.get((0, runtime)), judge)
            for runtime in runtimes
        )
        for index in range(len(graphs))
    ]
    return prices, machine


def _lower(
    graph: PricedGraph, runtimes: Sequence[str], folder: Path, progress: Progress
) -> dict[str, Lowered | Failure]:
    progress(f"converting {graph.name}")
    folder.mkdir()
    activations = load_profile(_HOST).onnx_activations  # whatever the device gets: it is this machine that is timed
    keys = [ConversionKey(r, _INT8, activations if r == "onnxruntime" else _INT8) for r in runtimes]
    return {key.runtime: outcome for key, outcome in lower(None, {ASYMMETRIC: graph.model}, keys, folder).items()}


def _price(
    runtime: str, lowered: Lowered | Failure, measured: Measured | None, base: Measured | None, judge: OutputsQuality
) -> Price:
    if isinstance(lowered, Failure) or measured is None:
        reason = lowered.reason if isinstance(lowered, Failure) else "it was not measured"
        return Price(runtime, None, None, 0, None, reason)
    result, outputs = measured
    size = lowered.artifact.total_bytes
    if not result.latency_ns.samples:
        return Price(runtime, None, None, size, None, "; ".join(result.invalid_reasons))
    median_ms = statistics.median(result.latency_ns.samples) / 1e6
    ratio = None if base is None else median_ratio(base[0], result)
    try:
        quality, remarks = judge(outputs), list(result.invalid_reasons)
    except DataError as error:
        quality, remarks = None, [str(error), *result.invalid_reasons]
    return Price(runtime, median_ms, ratio, size, quality, "; ".join(remarks))


def _words(host: Host) -> str:
    emulated = ", emulated" if host.emulated else ""
    return f"{host.cpu_model or host.machine}, {_THREADS} thread{emulated}"
