"""That an int8 artefact computes in int8: read from what its own runtime makes of it, not from what was meant."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import onnx_ir as ir

from edgeconv.errors import ExportError, RuntimeUnavailableError, UsageError
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.macs import count_macs
from edgeconv.graph import infer_shapes, load_graph
from edgeconv.manifest import Artifact, Failure, Int8Proof, Manifest
from edgeconv.parity.tolerance import override_tolerances
from edgeconv.runtimes.kernels import ANY_MACHINE, Kernels
from edgeconv.wording import listed

__all__ = ["check_share", "demand_int8", "prove", "with_least_share", "with_proof"]

_INT8 = "int8"
_NAMED = 3  # operators among the facts; the proof has all
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


class Reader(Protocol):
    """What each runtime's module here has under the name `read_kernels`."""

    def __call__(self, path: Path, activations: str, graph: ir.Model) -> Kernels | None:
        """What the runtime makes of the artefact `path`; None where it does not tell.

        Args:
            path: the artefact's file.
            activations: "int8" or "uint8", as ONNX Runtime's artefact has them.
            graph: the Q/DQ graph that it was made from.

        Raises:
            RuntimeUnavailableError: the runtime is not installed, or refuses the file.
        """
        ...


# TensorRT has no line: its engine is built on the device, where its layers tell their precision.
_READERS = {
    "litert": "edgeconv.export.proof.litert",
    "onnxruntime": "edgeconv.export.proof.onnxruntime",
    "openvino": "edgeconv.export.proof.openvino",
    "tflite_runtime": "edgeconv.export.proof.litert",
}


def with_proof(artifact: Artifact, job: ConversionJob) -> Artifact:
    """The artefact that `job` made, with its proof and what that says among its facts."""
    proof = prove(artifact, job)
    if proof is None:
        return artifact
    where = "" if proof.machine == ANY_MACHINE else f" on {proof.machine}"
    facts = {
        "int8 MACs": f"{100 * proof.mac_share:.4g} %{where}",
        "Q/DQ unfused": str(proof.unfused),
        "in float": listed([*proof.float_macs, *proof.float_operators], _NAMED) or "nothing",
        "layout changes": str(proof.layout_changes),
    }
    return dataclasses.replace(artifact, proof=proof, facts={**artifact.facts, **facts})


def prove(artifact: Artifact, job: ConversionJob) -> Int8Proof | None:
    """What the runtime makes of an int8 artefact; None for others, and where it is missing or mute."""
    module = _READERS.get(job.runtime)
    if job.precision != _INT8 or module is None:
        return None
    read: Reader = importlib.import_module(module).read_kernels
    graph = load_graph(Path(job.source))
    if any(output.shape is None for node in graph.graph for output in node.outputs):
        infer_shapes(graph)
    try:
        kernels = read(Path(job.directory) / artifact.path, job.activations, graph)
    except RuntimeUnavailableError:
        return None
    if kernels is None:
        return None
    counted = {str(node.name): macs for node in graph.graph if (macs := count_macs(node))}
    mac_share, in_float = kernels.divide(counted)
    others = [name for name in kernels.floating if name not in counted]
    of_ports = _port_quantisers(graph.graph)
    return Int8Proof(
        machine=kernels.machine,
        mac_share=mac_share,
        float_macs=in_float,
        unfused=sum(name not in of_ports for name in kernels.quantisers),
        float_operators=others,
        layout_changes=kernels.layout_changes,
        macs=counted,
    )


def check_share(least: float) -> None:
    """Raise `UsageError` for a share that is no fraction."""
    if not 0 <= least <= 1:
        raise UsageError(f"A share of {least:g} means nothing.", "--min-int8-share is a fraction of 1, like 0.9.")


def demand_int8(made: Iterable[Artifact | Failure], least: float) -> None:
    """Refuse int8 artefacts that compute less than `least` (0 to 1) of their multiply-accumulates on integers.

    Raises:
        ExportError: one does, and the operators are named; or one could not be made, which is no int8 at all. An
            artefact without a proof is not judged.
    """
    for artifact in made:
        if isinstance(artifact, Failure):
            if least and artifact.precision == _INT8:
                name = f"{artifact.runtime} {artifact.precision}"
                raise ExportError(f"{name} could not be made, {least:.1%} in int8 are asked for: {artifact.reason}")
            continue
        if artifact.precision != _INT8 or artifact.proof is None or artifact.proof.mac_share >= least:
            continue
        nodes = ", ".join(artifact.proof.float_macs)
        raise ExportError(
            f"{artifact.runtime} int8 computes {artifact.proof.mac_share:.1%} of its multiply-accumulates in int8, "
            f"{least:.1%} are asked for. In float: {nodes}.",
            "See why with `edgeconv drift BUNDLE --layers`, or ask for less with --min-int8-share.",
        )


def with_least_share(manifest: Manifest, least: float) -> Manifest:
    """The manifest with `least` among its tolerances, so that it is asked for on the device as well."""
    if not least:
        return manifest
    tolerances = override_tolerances(manifest.tolerances, [f"{_INT8}.min_int8_share={least}"])
    return dataclasses.replace(manifest, tolerances=tolerances)


def _port_quantisers(graph: ir.Graph) -> set[str]:
    """The quantisers right behind the inputs and right before the outputs: what is handed over in float needs them."""
    found = [node for value in graph.inputs for node in value.consumers()]
    found += [reader for node in found for reader in node.outputs[0].consumers()]
    ends = [node for value in graph.outputs if (node := value.producer()) is not None]
    found += [*ends, *(node for end in ends if (node := _producer(end)) is not None)]
    return {str(node.name) for node in found if node.op_type in _QUANTISERS}


def _producer(node: ir.Node) -> ir.Node | None:
    return node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
