"""int8: which operators, on which grids, and the one Q/DQ graph that every runtime's int8 model is lowered from."""

from __future__ import annotations

from edgeconv.export.quantize.grid import Grid
from edgeconv.export.quantize.pipeline import quantize
from edgeconv.export.quantize.plan import observed_tensors
from edgeconv.export.quantize.ranges import estimator_names
from edgeconv.export.quantize.scheme import (
    NodeRecord,
    QuantisationResult,
    QuantisationScheme,
    QuantisationSummary,
    Recipe,
    TensorRecord,
)
from edgeconv.export.quantize.validate import validate_qdq

__all__ = [
    "Grid",
    "NodeRecord",
    "QuantisationResult",
    "QuantisationScheme",
    "QuantisationSummary",
    "Recipe",
    "TensorRecord",
    "estimator_names",
    "observed_tensors",
    "quantize",
    "validate_qdq",
]
