"""A run record: every number with its evidence, schema version 1.

Part of the device agent (it writes one `Result` for each artefact): Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from edgeconv.errors import RecordError
from edgeconv.schema import SchemaError, from_dict

__all__ = [
    "SCHEMA_VERSION",
    "Drift",
    "DriftPart",
    "Host",
    "Latency",
    "Memory",
    "Result",
    "RunRecord",
    "TaskMetric",
    "read_record",
]

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Latency:
    """Every timed inference in order, in nanoseconds; a percentile that the sample cannot support is None."""

    samples: List[int]
    p50: Optional[int]
    p90: Optional[int]
    p99: Optional[int]
    warmup: List[int]


@dataclasses.dataclass(frozen=True)
class Memory:
    """Resident memory of the measuring process.

    `peak_rss_bytes` is VmHWM after load and inference; `baseline_rss_bytes` is VmRSS with the interpreter, numpy and
    the runtime imported but no model loaded.  None: the system does not tell.
    """

    peak_rss_bytes: Optional[int]
    baseline_rss_bytes: Optional[int]
    method: str


@dataclasses.dataclass(frozen=True)
class DriftPart:
    """Difference of two sets of outputs, pooled over all golden cases and outputs.

    `sqnr_db` is 10 log10(sum ref^2 / sum (ref - x)^2); None when the two are identical.
    """

    max_abs: float
    mean_abs: float
    sqnr_db: Optional[float]
    cosine: float


@dataclasses.dataclass(frozen=True)
class Drift:
    """Where the difference to PyTorch arises; their sum is `total`.

    export: PyTorch to ONNX fp32.  quantisation: ONNX fp32 to the Q/DQ graph computed in float (zero for a float
    artefact).  runtime: that reference to what the runtime returned.  total: PyTorch to what the runtime returned.
    reference: PyTorch to that reference, which `total` is judged against.
    """

    export: DriftPart
    quantisation: DriftPart
    runtime: DriftPart
    total: DriftPart
    reference: DriftPart


@dataclasses.dataclass(frozen=True)
class TaskMetric:
    """The task's metric over the golden cases, for PyTorch's outputs and for the runtime's."""

    name: str
    torch: float
    value: float


@dataclasses.dataclass(frozen=True)
class Result:
    """One artefact measured in one fresh process."""

    runtime: str
    precision: str
    valid: bool
    invalid_reasons: List[str]
    artifact_sha256: str
    artifact_bytes: int
    latency_ns: Latency
    import_ns: Optional[int]
    load_ns: Optional[int]
    first_inference_ns: Optional[int]
    memory: Memory
    drift: Optional[Drift]
    task: Optional[TaskMetric]
    provider: Optional[str]
    threads: int
    evidence: Dict[str, str]  # what else the runtime tells: version, precision hint, delegate
    state: Dict[str, Any] = dataclasses.field(default_factory=dict)  # device state before and after


@dataclasses.dataclass(frozen=True)
class Host:
    """The machine that ran; None is "unknown"."""

    machine: str
    system: str
    cpu_model: Optional[str]
    cpu_flags: List[str]
    cpus: int
    governor: Optional[str]
    memory_bytes: Optional[int]
    python: str
    emulated: bool
    clock: str  # "wall" | "virtual"


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One `edgeconv bench`."""

    schema_version: int
    run_id: str
    started_at: str
    edgeconv_version: str
    target: str
    bundle: str
    manifest_sha256: str
    model: str
    device: str
    host: Host
    results: List[Result]


def read_record(path: Path) -> RunRecord:
    """Read and type-check a run record.

    Raises:
        RecordError: no such file, no JSON, a newer schema, or a key is missing, unknown or mistyped.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{path} is no run record: {error}.", "Was it cut off? Run the benchmark again.") from error
    found = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(found, int) and found > SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {found}, this edgeconv reads up to {SCHEMA_VERSION}.", "Update edgeconv."
        )
    try:
        return from_dict(RunRecord, document)
    except SchemaError as error:
        raise RecordError(f"{path} is no run record of ours: {error}.") from error
