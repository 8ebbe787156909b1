"""What the user chooses about int8, and the record of what was decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir

from edgeconv.errors import UsageError
from edgeconv.export.quantize.grid import Grid
from edgeconv.export.quantize.placement import Placement
from edgeconv.export.quantize.ranges import range_estimator

__all__ = ["NodeRecord", "QuantisationResult", "QuantisationScheme", "QuantisationSummary", "Recipe", "TensorRecord"]

_ACTIVATIONS = {
    "asymmetric": Placement.EVERYWHERE,
    "symmetric": Placement.WEIGHTED_INPUTS,
    "symmetric-outputs": Placement.CONVOLUTION_OUTPUTS,
}


@dataclasses.dataclass(frozen=True)
class QuantisationScheme:
    """Weights are always int8, symmetric, with one scale for each output channel.

    Args:
        activations: "asymmetric" for CPUs; "symmetric" (zero points 0) for TensorRT, costs 2 to 3 dB. There
            only operators with weights compute on integers, and the first of them do not; see `keep_weighted`.
            "symmetric-outputs", where convolutions write integers as well, for OpenVINO on ARM.
        ranges: name of the range estimator, see `estimator_names`.
        bias_correction: move each bias so that the mean of every channel stays that of the fp32 network.
        input_grid: the exact grid of graph inputs that have one, by name. An 8-bit image v scaled to v / 255 has
            ``Grid(1 / 255, -128)``: its own values, not calibrated ones.
        float_nodes: operators, by node name, that stay in float.
        tensor_ranges: ranges (low, high) of single tensors, by name, instead of the estimated ones.

    Raises:
        UsageError: an unknown name.
    """

    activations: str = "asymmetric"
    ranges: str = "percentile"
    bias_correction: bool = True
    input_grid: Mapping[str, Grid] = dataclasses.field(default_factory=dict)
    float_nodes: tuple[str, ...] = ()
    tensor_ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.activations not in _ACTIVATIONS:
            raise UsageError(
                f"There are no {self.activations!r} activations.", f"Expected {' or '.join(_ACTIVATIONS)}."
            )
        range_estimator(self.ranges)
        if self.symmetric and any(grid.zero_point for grid in self.input_grid.values()):
            raise UsageError("An input grid with a zero point does not fit symmetric activations.")

    @property
    def symmetric(self) -> bool:
        """Whether every zero point is 0."""
        return self.activations != "asymmetric"

    @property
    def placement(self) -> Placement:
        """What has a quantiser."""
        return _ACTIVATIONS[self.activations]


@dataclasses.dataclass(frozen=True)
class TensorRecord:
    """The grid of one activation, the range it covers, and where it comes from.

    `source` is an estimator's name, "fixed", or "given" where `tensor_ranges` has a tensor that shares the grid.
    """

    name: str
    scale: float
    zero_point: int
    low: float
    high: float
    source: str


@dataclasses.dataclass(frozen=True)
class NodeRecord:
    """What became of one operator.

    `decision` is "int8" or "float", and `reason` says why float. `raised_channels` had their weight scale raised to
    keep the bias within 30 bits; `bias_corrected` is whether the sequential pass moved the bias.
    """

    name: str
    operator: str
    module: str
    decision: str
    reason: str
    macs: int
    raised_channels: tuple[int, ...] = ()
    bias_corrected: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The one record of what was quantised and how."""

    activations: str
    ranges: str
    bias_correction: bool
    calibration_samples: int
    correction_samples: int
    tensors: tuple[TensorRecord, ...]
    nodes: tuple[NodeRecord, ...]


@dataclasses.dataclass(frozen=True)
class QuantisationSummary:
    """The recipe in a few numbers; `float_islands` names the operators left in float."""

    int8_operators: int
    float_islands: tuple[str, ...]
    int8_mac_share: float
    bias_q_max_log2: float
    corrected_biases: int


@dataclasses.dataclass(frozen=True)
class QuantisationResult:
    """The Q/DQ graph, how it was made, and a summary."""

    model: ir.Model
    recipe: Recipe
    summary: QuantisationSummary
