"""What a converter is asked for and what it answers."""

from __future__ import annotations

import dataclasses

from edgeconv.manifest import TensorSpec

__all__ = ["ConversionJob", "ConvertedFile"]


@dataclasses.dataclass(frozen=True)
class ConversionJob:
    """Make the artefact of `runtime` in `precision` from the ONNX file `source` in `directory`.

    `activations` ("int8" or "uint8") is the twin of the Q/DQ graph that ONNX Runtime gets; others lower the int8 one.
    """

    runtime: str
    precision: str
    source: str
    directory: str
    activations: str = "int8"

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two jobs the same."""
        return self.runtime, self.precision, self.activations


@dataclasses.dataclass(frozen=True)
class ConvertedFile:
    """What a converter made, paths relative to the job's directory."""

    path: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    companions: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
