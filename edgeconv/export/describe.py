"""The manifest of a bundle: which model, which ports, which tools, how it was made and how to make it again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from edgeconv.devices.profile import DeviceProfile
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.graphs import Graphs
from edgeconv.export.macs import count_macs
from edgeconv.export.subject import Subject
from edgeconv.manifest import SCHEMA_VERSION, Artifact, Failure, Manifest, ModelIdentity, Port
from edgeconv.parity.tolerance import default_tolerances

if TYPE_CHECKING:
    from edgeconv.export.quantize import QuantisationResult

__all__ = ["describe_bundle"]

_TOOLS = ("edgeconv", "torch", "onnx", "onnx-ir", "onnxsim", "onnxruntime", "ai-edge-litert", "openvino", "numpy")


def describe_bundle(
    name: str,
    profile: DeviceProfile,
    subject: Subject,
    inputs: Sequence[Port],
    graphs: Graphs,
    golden: GoldenArrays,
    artifacts: Sequence[Artifact],
    failures: Sequence[Failure],
) -> Manifest:
    """The manifest, complete but for `files`, which `write_bundle` adds."""
    kept = [rewrite for rewrite in graphs.rewrites if rewrite.kept]
    approximated = any(rewrite.equivalence == "approximated" for rewrite in kept)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        model=ModelIdentity(
            name=subject.name,
            source=subject.source,
            weights_sha256=subject.weights_sha256,
            parameters=subject.parameters,
            macs=sum(count_macs(node) for node in graphs.fp32.graph),
            equivalence="approximated" if approximated else "exact",
        ),
        device=profile.name,
        inputs=list(inputs),
        outputs=[_output_port(value.name or "", golden) for value in graphs.fp32.graph.outputs],
        artifacts=list(artifacts),
        files=[],
        failures=list(failures),
        rewrites=graphs.rewrites,
        tolerances=default_tolerances(),
        metric=subject.metric,
        quantisation=_quantisation(graphs.int8),
        tools=_tool_versions(),
        reproduce=["edgeconv", *sys.argv[1:]],
    )


def _output_port(name: str, golden: GoldenArrays) -> Port:
    shape = golden[f"torch.{name}"].shape[1:]
    return Port(name, list(shape), "float32", "NCHW" if len(shape) == 4 else "as-is")


def _quantisation(result: QuantisationResult | None) -> dict[str, str]:
    if result is None:
        return {}
    recipe, summary = result.recipe, result.summary
    return {
        "activations": recipe.activations,
        "ranges": recipe.ranges,
        "bias correction": "yes" if recipe.bias_correction else "no",
        "calibration samples": str(recipe.calibration_samples),
        "int8 operators": str(summary.int8_operators),
        "share of MACs in int8": f"{summary.int8_mac_share:.4f}",
        "float operators": ", ".join(summary.float_islands),
    }


def _tool_versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for tool in _TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:
            continue
    return versions
