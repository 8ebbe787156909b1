"""What a bundle says about itself: `manifest.json`, schema version 1.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Dict, List, Optional

from edgeconv.errors import BundleError
from edgeconv.schema import SchemaError, from_dict, refuse_newer

__all__ = [
    "GATES_FACT",
    "MANIFEST_NAME",
    "PRECISIONS",
    "SCHEMA_VERSION",
    "AppliedRewrite",
    "Artifact",
    "Failure",
    "FileEntry",
    "Int8Proof",
    "Manifest",
    "ModelIdentity",
    "Normalisation",
    "Port",
    "TensorSpec",
    "Tolerance",
    "read_manifest",
]

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
PRECISIONS = ("fp32", "fp16", "int8")
GATES_FACT = "gates"  # of an artefact: a sentence about the bytes of its gate maps and what others would cost


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """What the runner does to a raw input: ``(x * scale - mean) / std``, mean and std per channel (axis 1)."""

    scale: float
    mean: List[float]
    std: List[float]


@dataclasses.dataclass(frozen=True)
class Port:
    """One input or output of the model as PyTorch sees it; golden arrays have this shape (batch included)."""

    name: str
    shape: List[int]
    dtype: str  # of the golden array: "uint8" for 8-bit images, else "float32"
    layout: str  # "NCHW" for rank 4, else "as-is"
    normalisation: Optional[Normalisation] = None


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artefact.  `scale` and `zero_point` are set where the tensor is an integer one."""

    port: str
    name: str
    shape: List[int]
    layout: str  # "NCHW" | "NHWC" | "as-is"
    dtype: str  # "float32" | "int8" | "uint8"
    scale: Optional[float] = None
    zero_point: Optional[int] = None


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: POSIX path relative to it, SHA-256, size."""

    path: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        _check_size(self.bytes)


@dataclasses.dataclass(frozen=True)
class Int8Proof:
    """What the runtime's own optimiser makes of an int8 artefact.

    machine: the processor that it holds for, that of the export; "any" where all builds of the runtime do the same.
    mac_share: part of the multiply-accumulates that integer kernels compute, 0 to 1; `float_macs` names the operators
        that compute the others.
    unfused: quantisers that run by themselves, those of the inputs and outputs apart.
    float_operators: operators without multiply-accumulates that compute in float.
    layout_changes: transpositions and the like, which compute nothing.
    macs: multiply-accumulates by the name of the operator, so that a device can tell its own share.
    """

    machine: str
    mac_share: float
    float_macs: List[str]
    unfused: int
    float_operators: List[str]
    layout_changes: int
    macs: Dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One model file for one runtime in one precision; `companions` are files that it needs beside it.

    `reference` names the golden outputs that an int8 artefact is judged by: those of the Q/DQ graph that it was lowered
    from, "+float" of the same without the quantisers behind its last operators.
    `proof` is of an int8 artefact; None where its runtime is not on the exporting machine.
    """

    path: str
    sha256: str
    bytes: int
    runtime: str
    precision: str
    inputs: List[TensorSpec]
    outputs: List[TensorSpec]
    companions: List[FileEntry] = dataclasses.field(default_factory=list)
    facts: Dict[str, str] = dataclasses.field(default_factory=dict)  # e.g. {"transposes": "0", "int8 MACs": "100 %"}
    reference: str = "qdq"
    proof: Optional[Int8Proof] = None

    def __post_init__(self) -> None:
        _check_size(self.bytes)

    @property
    def paths(self) -> List[str]:
        """The file and its companions, relative to the bundle."""
        return [self.path, *(entry.path for entry in self.companions)]

    @property
    def total_bytes(self) -> int:
        """Size of the file and its companions."""
        return self.bytes + sum(entry.bytes for entry in self.companions)


@dataclasses.dataclass(frozen=True)
class Failure:
    """An artefact that could not be made, and why."""

    runtime: str
    precision: str
    reason: str


@dataclasses.dataclass(frozen=True)
class AppliedRewrite:
    """A graph rewrite as it was applied: fp32 SQNR against the graph before it (None: identical)."""

    name: str
    equivalence: str  # "exact" | "approximated"
    changed: int
    kept: bool
    sqnr_db: Optional[float]
    details: List[str]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Bounds of one precision; None: not judged.

    In dB of SQNR, as a fraction of the task metric, and as the part of an int8 artefact's multiply-accumulates, 0 to 1,
    that the runtime computes on integers where it is measured.
    """

    precision: str
    export_min_sqnr_db: Optional[float]
    runtime_min_sqnr_db: Optional[float]
    total_min_sqnr_db: Optional[float]
    total_max_loss_to_reference_db: Optional[float]
    max_metric_drop: Optional[float]
    min_int8_share: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class ModelIdentity:
    """Which model this is."""

    name: str
    source: str
    weights_sha256: Optional[str]
    parameters: int
    macs: Optional[int]
    equivalence: str  # "exact" | "approximated": of the rewrites taken together, before quantisation


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A bundle's table of contents and provenance."""

    schema_version: int
    name: str
    model: ModelIdentity
    device: str
    inputs: List[Port]
    outputs: List[Port]
    artifacts: List[Artifact]
    files: List[FileEntry]
    failures: List[Failure]
    rewrites: List[AppliedRewrite]
    tolerances: List[Tolerance]
    metric: Optional[str]
    quantisation: Dict[str, str]
    tools: Dict[str, str]
    reproduce: List[str]

    def artifact(self, runtime: str, precision: str) -> Artifact:
        """The artefact of `runtime` in `precision`; BundleError with what there is otherwise."""
        for candidate in self.artifacts:
            if (candidate.runtime, candidate.precision) == (runtime, precision):
                return candidate
        there = ", ".join(f"{a.runtime} {a.precision}" for a in self.artifacts)
        raise BundleError(f"Bundle {self.name} has no {runtime} {precision} artefact.", f"It has: {there}.")


def read_manifest(directory: Path) -> Manifest:
    """Read and type-check `directory`/manifest.json; hashes are the business of `edgeconv.export.bundle`.

    Raises:
        BundleError: there is none, it is no JSON, of a newer schema, or a key is missing, unknown or mistyped.
    """
    path = directory / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{directory} is no bundle: it has no {MANIFEST_NAME}.", "Make one: edgeconv export."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error
    try:
        document = json.loads(text)
        refuse_newer(document, SCHEMA_VERSION, str(path), BundleError)
        return from_dict(Manifest, document)
    except (ValueError, RecursionError) as error:  # SchemaError and JSONDecodeError are ValueErrors
        raise BundleError(f"{path} is damaged or foreign: {error}.", "Export the bundle again.") from error


def _check_size(size_bytes: int) -> None:
    if size_bytes < 0:
        raise SchemaError(f"bytes: expected a size, found {size_bytes}")
