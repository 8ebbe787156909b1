"""A run record: every number with its evidence, schema version 2.

Part of the device agent (it writes one `Result` for each artefact): Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from edgeconv.errors import RecordError
from edgeconv.manifest import Failure
from edgeconv.schema import SchemaError, from_dict, refuse_newer

__all__ = [
    "SCHEMA_VERSION",
    "DeviceState",
    "Drift",
    "DriftPart",
    "Execution",
    "Host",
    "Latency",
    "LayerDrift",
    "Memory",
    "Result",
    "RunRecord",
    "StateSample",
    "TaskMetric",
    "ToolSummary",
    "Trial",
    "Tuning",
    "parse_record",
    "read_record",
]

METRIC_EVIDENCE = "task metric"  # why there is none, where the bundle has one
OUTPUT_EVIDENCE = "worst output"  # followed by a part of the drift: the output that it is of, where there are several
SCHEMA_VERSION = 2


@dataclasses.dataclass(frozen=True)
class ToolSummary:
    """What a tool that keeps no samples says of its latencies; it gives no percentile, so none is made up."""

    tool: str
    count: int
    min_ns: int
    max_ns: int
    mean_ns: int
    std_ns: int


@dataclasses.dataclass(frozen=True)
class Latency:
    """Every timed inference in order, in nanoseconds; a percentile that the sample cannot support is None.

    `intervals` has the 99 % order-statistic confidence interval [low, high] of each percentile that is given, by its
    name ("p50").  `rounds` has the number of timed samples of each fresh process, in order; they add up to all samples.
    """

    samples: List[int]
    p50: Optional[int]
    p90: Optional[int]
    p99: Optional[int]
    warmup: List[int]
    p95: Optional[int] = None
    intervals: Dict[str, List[int]] = dataclasses.field(default_factory=dict)
    rounds: List[int] = dataclasses.field(default_factory=list)
    summary: Optional[ToolSummary] = None


@dataclasses.dataclass(frozen=True)
class Memory:
    """Resident memory of the measuring process.

    `peak_rss_bytes` is VmHWM after load and inference; `baseline_rss_bytes` is VmRSS with the interpreter, numpy and
    the runtime imported but no model loaded; `load_peak_rss_bytes` is VmHWM after the load alone.  PSS counts a page
    shared by n processes as 1/n.  `mapped_model_bytes` are the pages of the model file itself that are mapped.
    None: the system does not tell.
    """

    peak_rss_bytes: Optional[int]
    baseline_rss_bytes: Optional[int]
    method: str
    load_peak_rss_bytes: Optional[int] = None
    pss_bytes: Optional[int] = None
    baseline_pss_bytes: Optional[int] = None
    mapped_model_bytes: Optional[int] = None


@dataclasses.dataclass(frozen=True)
class DriftPart:
    """Difference of two sets of outputs over all golden cases, of the output with the lowest SQNR.

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
    reference: PyTorch to that reference, which `total` is judged against, of the output that `total` is of.
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
class StateSample:
    """One look at the device, `at_seconds` after the first one; a quantity that it does not tell is absent or None."""

    at_seconds: float
    load_average: Optional[float] = None
    available_bytes: Optional[int] = None
    frequencies_khz: Dict[str, int] = dataclasses.field(default_factory=dict)  # by cpufreq policy, or "cpu3"
    temperatures_celsius: Dict[str, float] = dataclasses.field(default_factory=dict)
    throttled: Optional[List[str]] = None  # what holds now, in words; [] nothing; None unknown
    power_watts: Dict[str, float] = dataclasses.field(default_factory=dict)  # by rail


@dataclasses.dataclass(frozen=True)
class DeviceState:
    """The device around and during a measurement: the first sample is from before it, the last from after it.

    `others_cpu_share` is the part of the machine's processor time that other processes had.  `energy_joules` covers
    the timed inferences, where the board has a power sensor.  `verdict`: "clean", "throttled", "busy" or "unknown".
    """

    governors: Dict[str, str]  # by cpufreq policy
    power_mode: Optional[str]
    affinity: List[int]
    samples: List[StateSample]
    others_cpu_share: Optional[float]
    energy_joules: Optional[float]
    verdict: str
    reasons: List[str]
    facts: Dict[str, str] = dataclasses.field(default_factory=dict)  # raw words worth keeping, e.g. throttled=0x50000


@dataclasses.dataclass(frozen=True)
class Execution:
    """What was asked of a runtime and what it really did.

    `operators` counts the executed operators by the provider, delegate or precision that ran them, where the runtime
    tells; `share` is the part of them that ran as asked.
    `int8_mac_share` is the part of an int8 artefact's multiply-accumulates, 0 to 1, that integer kernels computed on
    this machine, `float_macs` the operators that computed the others; None where nobody can tell.
    """

    requested: str
    used: str
    operators: Dict[str, int] = dataclasses.field(default_factory=dict)
    share: Optional[float] = None
    precision: Optional[str] = None  # what the runtime computes floats in
    threads: Optional[int] = None
    int8_mac_share: Optional[float] = None
    float_macs: List[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting that tuning tried: median over `count` inferences."""

    options: Dict[str, str]
    median_ns: int
    count: int
    rung: int  # of successive halving, 0 the first


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The options that won, and everything that they beat."""

    options: Dict[str, str]
    trials: List[Trial]


@dataclasses.dataclass(frozen=True)
class LayerDrift:
    """SQNR of one operator's output against the Q/DQ reference, in dB (None: identical).

    `alone_db` with the reference's own input, `cumulative_db` in the running network.
    """

    layer: str  # module path where it is known, else the tensor's name
    operator: str
    alone_db: Optional[float]
    cumulative_db: Optional[float]


@dataclasses.dataclass(frozen=True)
class Result:
    """One artefact, measured in fresh processes."""

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
    state: Optional[DeviceState] = None
    execution: Optional[Execution] = None
    options: Dict[str, str] = dataclasses.field(default_factory=dict)  # of the runtime, as asked
    mode: str = "steady"  # "steady" | "burst" | "sustained"
    attempts: int = 1  # how often the measurement was made until it was steady or given up
    tuning: Optional[Tuning] = None
    layers: List[LayerDrift] = dataclasses.field(default_factory=list)


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
    board: Optional[str] = None
    distribution: Optional[str] = None
    libc: Optional[str] = None  # like "glibc 2.36"
    page_bytes: Optional[int] = None
    cpu_parts: List[str] = dataclasses.field(default_factory=list)  # one for each kind of core, like "Cortex-A76"
    boot_id: Optional[str] = None
    facts: Dict[str, str] = dataclasses.field(default_factory=dict)  # e.g. {"l4t": "R36.4.3", "android": "15"}


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
    model_sha256: Optional[str] = None  # of the weights
    tools: Dict[str, str] = dataclasses.field(default_factory=dict)  # versions of what made the artefacts
    settings: Dict[str, float] = dataclasses.field(default_factory=dict)  # of the latency protocol
    failures: List[Failure] = dataclasses.field(default_factory=list)  # artefacts that the export could not make


def read_record(path: Path) -> RunRecord:
    """Read and type-check a run record.

    Raises:
        RecordError: no such file, no JSON, a newer schema, or a key is missing, unknown or mistyped.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}.") from error
    return parse_record(text, str(path))


def parse_record(text: str, source: str) -> RunRecord:
    """A run record from its JSON; `source` names it in errors.

    Raises:
        RecordError: no JSON, a newer schema, or a key is missing, unknown or mistyped.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError of its own
        raise RecordError(f"{source} is no run record: {error}.", "Was it cut off? Run the benchmark again.") from error
    refuse_newer(document, SCHEMA_VERSION, source, RecordError)
    if isinstance(document, dict) and document.get("schema_version") == 1:
        _upgrade(document)
    try:
        return from_dict(RunRecord, document)
    except SchemaError as error:
        raise RecordError(f"{source} is no run record of ours: {error}.") from error


def _upgrade(document: Dict[str, Any]) -> None:
    """Version 1 kept the device's state as free-form JSON; it is dropped, everything else has the same names."""
    document["schema_version"] = SCHEMA_VERSION
    results = document.get("results")
    for result in results if isinstance(results, list) else []:
        if isinstance(result, dict):
            result.pop("state", None)
