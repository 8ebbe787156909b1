"""What the user asked the export for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.manifest import Failure

if TYPE_CHECKING:  # they import numpy, which the command line does not need to say what it can do
    from edgeconv.export.learn.report import LearnReport
    from edgeconv.export.mixed.report import MixedReport
    from edgeconv.export.search.report import SearchReport

__all__ = ["BuiltBundle", "ExportOptions", "ExportResult"]


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of `build_bundle`; every field has the command line's default.

    model: built-in name, `file.py:factory`, `package.module:factory`, `.pt2` or `.onnx`.
    input_shapes: `1x3x160x224`, or `NAME=1x3x160x224` once for each input; a built-in task knows its own.
    calibration, evaluation: folder of images, `.npy`, `.npz` or `file.py:function`; evaluation data become the golden
        cases, else a part of the calibration data that is kept from calibration.
    mean, std: normalisation of the inputs in units of the input scaled to 0…1 (8-bit images) or as given (floats).
    nmf_iterations: of every NMF layer; None leaves them as the model has them.
    runtimes: only these; one that fails is then an error instead of a row.
    ranges: name of the range estimator, see `estimator_names`; None for the default.
    quality: "default", or "best": choices by measuring candidates on calibration samples that are held back.
    recipe: `recipe.json` of an earlier bundle (or the bundle), whose choices are repeated.
    gates, gate_rank: form of constant gate maps and rank of those that are expressions, see `Choices`; None leaves it
        to the recipe, or the default.
    rank_energy, macs_budget: how far factor pairs are truncated, see `RankDial`.
    min_sqnr_db, max_drop: the quality for whose sake operators are left in float: SQNR against PyTorch that no golden
        case stays below, and METRIC=VALUE, how much lower than PyTorch's a task metric may be.
    learn_seconds: how long about to learn the int8 graph's biases, ranges and weights; None for not at all.
    min_int8_share: least part of its multiply-accumulates, 0 to 1, that an int8 artefact must compute on integers.
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
    nmf_iterations: int | None = None
    runtimes: tuple[str, ...] = ()
    ranges: str | None = None
    quality: str = "default"
    recipe: Path | None = None
    gates: str | None = None
    gate_rank: int | None = None
    rank_energy: float | None = None
    macs_budget: float | None = None
    min_sqnr_db: float | None = None
    max_drop: str | None = None
    learn_seconds: float | None = None
    output: Path = Path("bundles")
    name: str | None = None
    pack: bool = False
    with_wheels: bool = False
    min_int8_share: float = 0.0
    force: bool = False


@dataclasses.dataclass(frozen=True)
class BuiltBundle:
    """One bundle that was written.

    `bytes` is that of its model files; `outdated` is a packed bundle of an earlier export beside it, None without.
    """

    path: str
    device: str
    packed: str | None
    bytes: int
    artifacts: list[str]
    failures: list[Failure]
    outdated: str | None = None


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """All bundles of one export, how long each stage took, and what a search tried and learning gained, where
    there was one. `notes` are what was asked for and had no effect, in words."""

    bundles: list[BuiltBundle]
    stages_ns: dict[str, int]
    search: SearchReport | None = None
    mixed: MixedReport | None = None
    learn: LearnReport | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
