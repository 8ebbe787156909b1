"""A runtime's own file with its inner tensors laid open, so that each can be read and, if wanted, replaced."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edgeconv.benchmarks.agent.feeds import make_inputs, order_specs, read_outputs
from edgeconv.errors import RuntimeUnavailableError
from edgeconv.export.executor import Array
from edgeconv.manifest import Artifact, Port, TensorSpec
from edgeconv.parity.locate.layers import Layer
from edgeconv.runtimes import get_runtime

__all__ = ["FED", "Opener", "Variant", "open_variant"]

FED = "#fed"
"""Ends the name of a tensor that is fed in the place of one that the model computes."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """A model file with more outputs (and, cut loose, more inputs); `layers` are the names of those it lays open."""

    path: Path
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    layers: list[str]


class Opener(Protocol):
    """What each runtime's module here has under the name `open_file`."""

    def __call__(self, source: Path, artifact: Artifact, layers: Sequence[Layer], loose: bool, to: Path) -> Variant:
        """Write a variant of `source` into the folder `to`.

        Args:
            source: the artefact's file.
            artifact: what the manifest says of it.
            layers: of the reference graph, in its order; those that the file does not keep by name are left out.
            loose: also feed every layer's readers from outside, so that no layer sees what another one computed.
            to: an empty folder.
        """
        ...


_OPENERS = {
    "litert": "edgeconv.parity.locate.tflite",
    "onnxruntime": "edgeconv.parity.locate.onnx",
    "openvino": "edgeconv.parity.locate.openvino",
    "tflite_runtime": "edgeconv.parity.locate.tflite",
}


def open_variant(source: Path, artifact: Artifact, layers: Sequence[Layer], loose: bool, to: Path) -> Variant:
    """Lay `source` open; see `Opener`.

    Raises:
        RuntimeUnavailableError: nothing here can look into that runtime's files.
    """
    module = _OPENERS.get(artifact.runtime)
    if module is None:
        raise RuntimeUnavailableError(
            f"Inner tensors of {artifact.runtime} files cannot be read here.", f"Possible for: {', '.join(_OPENERS)}."
        )
    opener: Opener = importlib.import_module(module).open_file
    to.mkdir(parents=True, exist_ok=True)
    return opener(source, artifact, layers, loose, to)


class VariantRunner:
    """Runs a variant in its runtime, on one thread."""

    def __init__(self, variant: Variant, runtime: str, ports: Sequence[Port], layers: Sequence[Layer]) -> None:
        self._session = get_runtime(runtime).load(variant.path, 1)
        self._ports = [*ports, *(layer.port for layer in layers)]
        self._inputs = order_specs(variant.inputs, self._session.input_names)
        self._outputs = order_specs(variant.outputs, self._session.output_names)

    def run(self, case: Mapping[str, Array], values: Mapping[str, Array]) -> dict[str, Array]:
        """The layers' values for the raw inputs `case`; `values` are what is fed where the variant is cut loose."""
        inputs = make_inputs({**values, **case}, self._ports, self._inputs)
        with np.errstate(invalid="ignore", over="ignore"):
            return read_outputs(self._session.run(inputs), self._ports, self._outputs)
