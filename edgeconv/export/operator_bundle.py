"""The int8 operators of a Q/DQ graph as a bundle of their own, so that a device's kernels can be checked one by one.

Its model is all operators side by side, not joined to each other: each has its own inputs, fed with the integers that
the reference computed, and its own outputs. One run on a device then answers for every operator.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnx_ir as ir

from edgeconv.benchmarks.outputs import RunOutputs
from edgeconv.export.bundle import Supply, bare_manifest, place_artifact, write_bundle
from edgeconv.export.conversion import run_job
from edgeconv.export.executor import Array
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.operator_parity import FloatCase, OperatorParity, operator_port, wrap_operator
from edgeconv.export.reference import ReferenceRunner, split_operators
from edgeconv.graph import to_bytes
from edgeconv.manifest import Manifest

__all__ = ["OperatorBundle"]

_INT8 = "int8"


class OperatorBundle:
    """The operators of `model` and what the reference computes for each from one `sample`.

    Args:
        model: an int8 Q/DQ graph.
        sample: normalised inputs of the whole graph, by name.
    """

    def __init__(self, model: ir.Model, sample: Mapping[str, Array]) -> None:
        cases = [wrapped for case in split_operators(model) if (wrapped := wrap_operator(case)).results]
        self._cases = {f"operator{index:03d}_": case for index, case in enumerate(cases)}
        taps = {tensor for case in cases for tensor, _ in [*case.feeds.values(), *case.results.values()]}
        taps -= {str(value.name) for value in model.graph.inputs}
        self._tensors = {**sample, **ReferenceRunner(model, sorted(taps)).run(sample)}

    def write(
        self,
        path: Path,
        *,
        device: str,
        runtimes: Sequence[str],
        activations: str = "int8",
        supply: Supply = MappingProxyType({}),
    ) -> Manifest:
        """Write the bundle `path` for a device profile.

        Raises:
            ExportError: a converter refuses an operator.
            UsageError: `path` exists.
        """
        graphs = {prefix: case.model.graph for prefix, case in self._cases.items()}
        inputs, outputs = (
            [
                operator_port(ir.Value(name=prefix + str(value.name), shape=value.shape, type=value.type))
                for prefix, graph in graphs.items()
                for value in getattr(graph, side)
            ]
            for side in ("inputs", "outputs")
        )
        with tempfile.TemporaryDirectory(prefix="edgeconv-operators-") as temporary:
            source = Path(temporary) / "operators.onnx"
            onnx.save(_side_by_side(self._cases), source)
            artifacts, files = [], {}
            for runtime in runtimes:
                directory = Path(temporary) / runtime
                directory.mkdir()
                made = run_job(ConversionJob(runtime, _INT8, str(source), str(directory), activations))
                artifact = place_artifact(made)
                artifacts.append(artifact)
                files.update({name: directory / Path(name).name for name in artifact.paths})
            manifest = bare_manifest(path.name, __name__, device, inputs, outputs, artifacts)
            return write_bundle(path, manifest, files, self._golden(), supply)

    def compare(self, outputs: RunOutputs) -> list[OperatorParity]:
        """Every operator in every runtime whose outputs a run of the bundle kept; see `run_benchmark`."""
        return [
            self._parity(runtime, prefix, case, arrays)
            for (runtime, _), arrays in outputs.items()
            for prefix, case in self._cases.items()
        ]

    def _parity(self, runtime: str, prefix: str, wrapped: FloatCase, arrays: Mapping[str, Array]) -> OperatorParity:
        steps = np.concatenate(
            [
                quantiser.steps(arrays[prefix + name][0], self._tensors[tensor]).ravel()
                for name, (tensor, quantiser) in wrapped.results.items()
            ]
        )
        case, off = wrapped.case, np.count_nonzero(steps) / max(steps.size, 1)
        return OperatorParity(runtime, case.name, case.operator, case.module, int(steps.max(initial=0)), off)

    def _golden(self) -> dict[str, Array]:
        """One case. What "torch" and "onnx" say of a single operator is what the reference says."""
        arrays: dict[str, Array] = {}
        for prefix, case in self._cases.items():
            for name, (tensor, quantiser) in case.feeds.items():
                value = self._tensors[tensor]
                arrays[f"input.{prefix}{name}"] = (quantiser.real(value) if quantiser else value)[None]
            for name, (tensor, result) in case.results.items():
                for reference in ("torch", "onnx", "qdq"):
                    arrays[f"{reference}.{prefix}{name}"] = result.real(self._tensors[tensor])[None]
        return arrays


def _side_by_side(cases: Mapping[str, FloatCase]) -> onnx.ModelProto:
    merged: onnx.ModelProto | None = None
    for prefix, case in cases.items():
        model = onnx.compose.add_prefix(onnx.load_from_string(to_bytes(case.model)), prefix)
        if merged is None:
            merged = model
            continue
        for field in ("node", "input", "output", "initializer", "value_info"):
            getattr(merged.graph, field).extend(getattr(model.graph, field))
    return merged or onnx.ModelProto()
