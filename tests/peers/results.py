"""What one run of the comparison found; `compare.py` writes it to `results.json`."""

from __future__ import annotations

import dataclasses

__all__ = ["Bound", "Conversion", "DemoTimes", "Machine", "Measurement", "ModelResult", "Results"]


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
class Measurement:
    """One artefact: its size, what it costs and what it answers.

    rounds_ns: nanoseconds of the timed inferences of each round.
    sqnr_db: signal-to-noise ratio against PyTorch's outputs, pooled over the evaluation images.
    correction_sqnr_db: the same with the input taken out of the signal, for models that correct their input.
    """

    converter: str
    runtime: str
    precision: str
    path: str
    bytes: int
    port_type: str = ""
    rounds_ns: list[list[int]] = dataclasses.field(default_factory=list)
    median_ns: float | None = None
    minimum_ns: float | None = None
    sqnr_db: float | None = None
    correction_sqnr_db: float | None = None
    metric: float | None = None
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """One model by every converter; `foreign_cores` is the most that others took, converting or timing."""

    model: str
    metric: str
    torch_metric: float
    evaluation_images: int
    calibration_images: int
    conversions: list[Conversion]
    measurements: list[Measurement]
    foreign_cores: float


@dataclasses.dataclass(frozen=True)
class Bound:
    """A figure that must not exceed its limit; `interval` is that of 95 % where it was sampled."""

    model: str
    what: str
    value: float | None
    limit: float
    unit: str
    interval: list[float] | None = None

    @property
    def passed(self) -> bool:
        """A figure that could not be measured has not passed."""
        return self.value is not None and self.value <= self.limit


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
    models: list[ModelResult]
    demo: DemoTimes | None
    bounds: list[Bound]
