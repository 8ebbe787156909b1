"""Where the error of int8 arises: end to end in its parts, and layer by layer, alone and in the running network."""

from __future__ import annotations

from edgeconv.parity.drift.measure import measure_drift, measure_layers
from edgeconv.parity.drift.record import DriftReport, LayerError

__all__ = ["DriftReport", "LayerError", "measure_drift", "measure_layers"]
