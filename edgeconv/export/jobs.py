"""What a converter is asked for and what it answers."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from edgeconv.manifest import TensorSpec

__all__ = ["ASYMMETRIC", "ConversionJob", "ConversionKey", "ConvertedFile", "qdq_reference"]

ASYMMETRIC = "asymmetric"
"""The quantisation scheme of activations that is always made; others are made where a device's target asks."""


def qdq_reference(scheme: str) -> str:
    """The name of a scheme's Q/DQ reference in the golden cases."""
    return "qdq" if scheme == ASYMMETRIC else f"qdq-{scheme}"


class ConversionKey(NamedTuple):
    """What makes two conversions the same; see `ConversionJob`."""

    runtime: str
    precision: str
    activations: str = "int8"
    scheme: str = ASYMMETRIC


@dataclasses.dataclass(frozen=True)
class ConversionJob:
    """Make the artefact of `runtime` in `precision` from the ONNX file `source` in `directory`.

    `scheme` is that of the Q/DQ graph in `source`, and `activations` ("int8" or "uint8") the twin of it that ONNX
    Runtime gets; others lower the int8 one.
    """

    runtime: str
    precision: str
    source: str
    directory: str
    activations: str = "int8"
    scheme: str = ASYMMETRIC

    @property
    def key(self) -> ConversionKey:
        """What makes two jobs the same."""
        return ConversionKey(self.runtime, self.precision, self.activations, self.scheme)


@dataclasses.dataclass(frozen=True)
class ConvertedFile:
    """What a converter made, paths relative to the job's directory."""

    path: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    companions: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
