"""What one run of the comparison found; `compare.py` writes it to `results.json`."""

from __future__ import annotations

import dataclasses

__all__ = [
    "BEST",
    "FLOAT",
    "OURS",
    "PLAIN",
    "Bound",
    "CalibrationMemory",
    "Conversion",
    "DemoTimes",
    "Machine",
    "Measurement",
    "ModelResult",
    "Quality",
    "Results",
]

OURS, BEST, PLAIN = "edgeconv", "edgeconv --quality best", "edgeconv, plain lowering"
FLOAT = "float ONNX file as given to the peers"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """One converter on one model, in a fresh process; `failure` is the reason where it made nothing.

    `seconds` is wall time, `cpu_seconds` what all its threads and children took.
    """

    converter: str
    makes: str
    seconds: float
    cpu_seconds: float
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class Quality:
    """What an artefact answers on one set of images.

    sqnr_db: signal-to-noise ratio against PyTorch's outputs, pooled over the images.
    correction_sqnr_db: the same with the input taken out of the signal, for models that correct their input.
    """

    sqnr_db: float
    correction_sqnr_db: float | None
    metric: float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One artefact: its size, what it costs and what it answers, on held-out images and on those shifted.

    packed_bytes: what it takes in the bundle as one .zip, for ours.
    rounds_ns: nanoseconds of the timed inferences of each round.
    """

    converter: str
    runtime: str
    precision: str
    path: str
    bytes: int
    packed_bytes: int | None = None
    port_type: str = ""
    rounds_ns: list[list[int]] = dataclasses.field(default_factory=list)
    median_ns: float | None = None
    minimum_ns: float | None = None
    quality: Quality | None = None
    shifted: Quality | None = None
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """One model by every converter.

    separable: whether it is made of SFConv pairs and CoordGates.
    torch_metric, shifted_torch_metric: PyTorch's value of the task metric, on held-out images and on those shifted.
    foreign_cores: the most that others took, converting or timing.
    """

    model: str
    separable: bool
    metric: str
    torch_metric: float
    shifted_torch_metric: float
    evaluation_images: int
    calibration_images: int
    conversions: list[Conversion]
    measurements: list[Measurement]
    foreign_cores: float


@dataclasses.dataclass(frozen=True)
class Bound:
    """A figure that must not exceed its limit, or not fall below it where `at_least`.

    `interval` is that of 95 % where it was sampled.
    """

    model: str
    what: str
    value: float | None
    limit: float
    unit: str
    interval: list[float] | None = None
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """A figure that could not be measured has not passed."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclasses.dataclass(frozen=True)
class CalibrationMemory:
    """Peak memory of an export, by how many images it calibrates with; None where it failed."""

    size_px: int
    peak_bytes: dict[str, int | None]


@dataclasses.dataclass(frozen=True)
class DemoTimes:
    """`install_seconds` is that of a fresh environment from wheels on disk, None where it was not asked for."""

    quickstart_seconds: float
    quickstart_exit_code: int
    help_seconds: float
    install_seconds: float | None


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cpus: int
    memory_gib: float
    int8_instructions: str
    system: str
    python: str
    governor: str


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything; `quiet`: the machine did nothing else; `versions`: the packages of each environment."""

    date: str
    rounds: int
    quiet: bool
    machine: Machine
    versions: dict[str, dict[str, str]]
    models: list[ModelResult] = dataclasses.field(default_factory=list)
    calibration: CalibrationMemory | None = None
    demo: DemoTimes | None = None
    bounds: list[Bound] = dataclasses.field(default_factory=list)
