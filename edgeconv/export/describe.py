"""The manifest of a bundle: which model, which ports, which tools, how it was made and how to make it again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata

from edgeconv.devices.profile import DeviceProfile
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.graphs import Graphs
from edgeconv.export.jobs import ASYMMETRIC, scheme_of
from edgeconv.export.macs import count_macs
from edgeconv.export.subject import Subject
from edgeconv.manifest import SCHEMA_VERSION, Artifact, Failure, Manifest, ModelIdentity, Port
from edgeconv.parity.tolerance import default_tolerances

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
        tolerances=default_tolerances("approximated" if approximated else "exact"),
        metric=subject.metric,
        quantisation=_quantisation(graphs, artifacts),
        tools=_tool_versions(),
        reproduce=["edgeconv", *sys.argv[1:]],
    )


def _output_port(name: str, golden: GoldenArrays) -> Port:
    shape = golden[f"torch.{name}"].shape[1:]
    return Port(name, list(shape), "float32", "NCHW" if len(shape) == 4 else "as-is")


def _quantisation(graphs: Graphs, artifacts: Sequence[Artifact]) -> dict[str, str]:
    """How the asymmetric graph was made, and of each other scheme that an artefact is of what differs."""
    facts: dict[str, str] = {}
    schemes = {scheme_of(artifact.reference) for artifact in artifacts}
    used = {s: r for s, r in graphs.int8.items() if s == ASYMMETRIC or s in schemes}
    for scheme, result in used.items():
        recipe, summary = result.recipe, result.summary
        if not facts:
            facts = {
                "activations": ", ".join(used),
                "ranges": recipe.ranges,
                "bias correction": "yes" if recipe.bias_correction else "no",
                "calibration samples": str(recipe.calibration_samples),
            }
        prefix = "" if scheme == ASYMMETRIC else f"{scheme}: "
        facts[f"{prefix}int8 operators"] = str(summary.int8_operators)
        facts[f"{prefix}share of MACs in int8"] = f"{summary.int8_mac_share:.4f}"
        facts[f"{prefix}float operators"] = ", ".join(summary.float_islands)
    return facts


def _tool_versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for tool in _TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:
            continue
    return versions
