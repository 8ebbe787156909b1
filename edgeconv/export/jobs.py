"""What a converter is asked for and what it answers."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from edgeconv.manifest import TensorSpec

__all__ = [
    "ASYMMETRIC",
    "ROUNDED_OUTPUTS",
    "ConversionJob",
    "ConversionKey",
    "ConvertedFile",
    "has_float_outputs",
    "qdq_reference",
    "scheme_of",
]

ASYMMETRIC = "asymmetric"
"""The quantisation scheme of activations that is always made; others are made where a device's target asks."""

ROUNDED_OUTPUTS = "symmetric-outputs"
"""The one in which convolutions write integers, see `Placement`."""

_QDQ, _FLOAT_OUTPUTS = "qdq", "+float"


def qdq_reference(scheme: str, *, float_outputs: bool = False) -> str:
    """The name of a scheme's Q/DQ reference in the golden cases; with `float_outputs` of `free_outputs`' graph."""
    return (_QDQ if scheme == ASYMMETRIC else f"{_QDQ}-{scheme}") + _FLOAT_OUTPUTS * float_outputs


def has_float_outputs(reference: str) -> bool:
    """Whether a Q/DQ reference is one without the quantisers behind the last operators."""
    return reference.endswith(_FLOAT_OUTPUTS)


def scheme_of(reference: str) -> str:
    """The scheme of a Q/DQ reference."""
    return reference.removesuffix(_FLOAT_OUTPUTS).partition("-")[2] or ASYMMETRIC


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
    Runtime gets; others lower the int8 one. With `float_outputs` a runtime whose kernels can write float gets no
    quantisers behind the last operators.
    """

    runtime: str
    precision: str
    source: str
    directory: str
    activations: str = "int8"
    scheme: str = ASYMMETRIC
    float_outputs: bool = False

    @property
    def key(self) -> ConversionKey:
        """What makes two jobs the same."""
        return ConversionKey(self.runtime, self.precision, self.activations, self.scheme)


@dataclasses.dataclass(frozen=True)
class ConvertedFile:
    """What a converter made, paths relative to the job's directory.

    `float_outputs` says whether it took out the quantisers behind the last operators.
    """

    path: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    companions: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    float_outputs: bool = False
