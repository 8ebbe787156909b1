"""What the user asked the export for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edgeconv.manifest import Failure

__all__ = ["BuiltBundle", "ExportOptions", "ExportResult"]


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of `build_bundle`; every field has the command line's default.

    model: built-in name, `file.py:factory`, `package.module:factory`, `.pt2` or `.onnx`.
    input_shapes: `1x3x160x224`, or `NAME=1x3x160x224` once for each input; a built-in task knows its own.
    calibration, evaluation: folder of images, `.npy`, `.npz` or `file.py:function`; evaluation data become the golden
        cases, else a part of the calibration data that is kept from calibration.
    mean, std: normalisation of the inputs in units of the input scaled to 0…1 (8-bit images) or as given (floats).
    runtimes: only these; one that fails is then an error instead of a row.
    with_wheels: add the wheels (or the Python) that the device needs; they are fetched by pip.
    """

    model: str
    weights: Path | None = None
    input_shapes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("host",)
    calibration: str | None = None
    calibration_count: int = 64
    evaluation: str | None = None
    golden_count: int = 8
    metric: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    runtimes: tuple[str, ...] = ()
    output: Path = Path("bundles")
    name: str | None = None
    pack: bool = False
    with_wheels: bool = False
    force: bool = False


@dataclasses.dataclass(frozen=True)
class BuiltBundle:
    """One bundle that was written: `bytes` is that of its model files."""

    path: str
    device: str
    packed: str | None
    bytes: int
    artifacts: list[str]
    failures: list[Failure]


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """All bundles of one export, and how long each stage took."""

    bundles: list[BuiltBundle]
    stages_ns: dict[str, int]
