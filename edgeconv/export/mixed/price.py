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
from edgeconv.benchmarks.ratios import Ratio, quantile_ratio
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, TargetAgent
from edgeconv.bundles import load_bundle
from edgeconv.devices.profile import load_profile
from edgeconv.devices.transports import open_transport
from edgeconv.errors import DataError, RuntimeUnavailableError
from edgeconv.export.bundle import place_artifact, write_bundle
from edgeconv.export.conversion import convert_all
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.mixed.report import Price, Quality
from edgeconv.manifest import SCHEMA_VERSION, Artifact, Failure, Manifest, ModelIdentity, Port
from edgeconv.records import Host, Result
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
    with tempfile.TemporaryDirectory(prefix="edgeconv-price-") as temporary:
        made = _convert(graphs, runtimes, Path(temporary), progress)
        cases = {name: array for name, array in golden.items() if name.split(".")[0] in ("input", "torch")}
        with contextlib.ExitStack() as stack:
            agents: dict[str, TargetAgent] = {}
            for index, graph in enumerate(graphs):
                artifacts = [a for a in made[index].values() if isinstance(a, Artifact)]
                if not artifacts:
                    continue
                path = Path(temporary) / f"bundle-{index}"
                sources = {p: Path(temporary) / f"graph-{index}" / Path(p).name for a in artifacts for p in _paths(a)}
                write_bundle(path, _manifest(graph.name, inputs, outputs, artifacts), sources, cases)
                # Each with a workspace of its own: an agent takes up jobs that it finds finished there.
                transport = stack.enter_context(contextlib.closing(open_transport("local:")))
                agent = TargetAgent(transport, load_bundle(path))
                agents.update((artifact.sha256, agent) for artifact in artifacts)
            plans = {
                (index, runtime): Measurement(artifact, _THREADS, settings.protocol)
                for index in range(len(graphs))
                for runtime, artifact in made[index].items()
                if isinstance(artifact, Artifact)
            }
            measured = run_campaign(
                _Agents(agents), list(plans.values()), settings, lambda done, of, _: progress(f"timing {done} of {of}")
            )
            machine = _words(next(iter(agents.values())).host()) if agents else ""
        results = dict(zip(plans, measured, strict=True))
    prices = [
        tuple(
            _price(runtime, made[index][runtime], results.get((index, runtime)), results.get((0, runtime)), judge)
            for runtime in runtimes
        )
        for index in range(len(graphs))
    ]
    return prices, machine


class _Agents:
    """Measures each artefact with the agent of the bundle that it is in."""

    def __init__(self, agents: Mapping[str, TargetAgent]) -> None:
        self._agents = agents

    def measure(self, measurement: Measurement) -> Measured:
        """In a fresh process."""
        return self._agents[measurement.artifact.sha256].measure(measurement)


def _convert(
    graphs: Sequence[PricedGraph], runtimes: Sequence[str], temporary: Path, progress: Progress
) -> list[dict[str, Artifact | Failure]]:
    from edgeconv.graph import save_graph

    activations = load_profile(_HOST).onnx_activations  # whatever the device gets: it is this machine that is timed
    made = []
    for index, graph in enumerate(graphs):
        progress(f"converting {graph.name}")
        source, directory = temporary / f"graph-{index}.onnx", temporary / f"graph-{index}"
        directory.mkdir()
        save_graph(graph.model, source)
        jobs = [
            ConversionJob(
                runtime, _INT8, str(source), str(directory), activations if runtime == "onnxruntime" else _INT8
            )
            for runtime in runtimes
        ]
        outcomes = convert_all(jobs, lambda job, outcome: None)
        made.append(
            {
                key.runtime: place_artifact(outcome) if isinstance(outcome, Artifact) else outcome
                for key, outcome in outcomes.items()
            }
        )
    return made


def _price(
    runtime: str,
    artifact: Artifact | Failure,
    measured: Measured | None,
    base: Measured | None,
    judge: OutputsQuality,
) -> Price:
    if isinstance(artifact, Failure) or measured is None:
        reason = artifact.reason if isinstance(artifact, Failure) else "it was not measured"
        return Price(runtime, None, None, 0, None, reason)
    result, outputs = measured
    if not result.latency_ns.samples:
        return Price(runtime, None, None, artifact.total_bytes, None, "; ".join(result.invalid_reasons))
    median_ms = statistics.median(result.latency_ns.samples) / 1e6
    ratio = None if base is None or not base[0].latency_ns.samples else _ratio(base[0], result)
    try:
        quality, remarks = judge(outputs), list(result.invalid_reasons)
    except DataError as error:
        quality, remarks = None, [str(error), *result.invalid_reasons]
    return Price(
        runtime,
        median_ms,
        ratio,
        artifact.total_bytes,
        quality,
        "; ".join(remarks),
    )


def _ratio(base: Result, result: Result) -> Ratio:
    return quantile_ratio(_rounds(base), _rounds(result), 0.5)


def _rounds(result: Result) -> list[np.ndarray]:
    samples = np.asarray(result.latency_ns.samples, np.float64)
    return np.split(samples, np.cumsum(result.latency_ns.rounds)[:-1]) if result.latency_ns.rounds else [samples]


def _words(host: Host) -> str:
    emulated = ", emulated" if host.emulated else ""
    return f"{host.cpu_model or host.machine}, {_THREADS} thread{emulated}"


def _manifest(name: str, inputs: Sequence[Port], outputs: Sequence[Port], artifacts: Sequence[Artifact]) -> Manifest:
    """Of a bundle that lives as long as the measurement."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        model=ModelIdentity(name, "edgeconv.export.mixed", None, 0, None, "exact"),
        device=_HOST,
        inputs=list(inputs),
        outputs=list(outputs),
        artifacts=list(artifacts),
        files=[],
        failures=[],
        rewrites=[],
        tolerances=[],
        metric=None,
        quantisation={},
        tools={},
        reproduce=[],
    )


def _paths(artifact: Artifact) -> list[str]:
    return [artifact.path, *(companion.path for companion in artifact.companions)]
