"""An estimate of an int8 graph's latency, to weigh a gain in quality against where nothing can be timed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgeconv.export.macs import count_macs
from edgeconv.export.quantize.plan import plan_operations
from edgeconv.graph import computed_constants, static_shape

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.quantize.operation import Operation

__all__ = ["LATENCY_BASIS", "estimate_latency_ms"]

_MACS_PER_MS = 440e6
_BYTES_PER_MS = 12.5e6
_FLOAT_BYTES = 4

LATENCY_BASIS = "estimate from 440 int8 GMAC/s and 12.5 GB/s, not measured"
"""What one core of an x86-64 with VNNI reaches; only ratios of such estimates mean anything."""


def estimate_latency_ms(model: ir.Model, *, folds: bool = True) -> float:
    """The time of the int8 form of the fp32 graph `model`: each operator's arithmetic and its traffic, one by one.

    An operator that stays in float moves and multiplies four times as much. What is computed from constants alone is
    folded when the model is converted or loaded, but for a Resize in a runtime that does not fold when it loads.
    """
    constant = computed_constants(model.graph)
    return sum(
        _operator_ms(operation)
        for operation in plan_operations(model.graph).operations
        if not constant.issuperset(operation.outputs) or (not folds and operation.node.op_type == "Resize")
    )


def _operator_ms(operation: Operation) -> float:
    macs = sum(count_macs(node) for node in operation.nodes)
    read = {value for node in operation.nodes for value in node.inputs if value is not None}
    internal = {value for node in operation.nodes for value in node.outputs} - set(operation.outputs)
    width = 1 if operation.is_int8 else _FLOAT_BYTES
    elements = _elements(read - internal) + _elements(operation.outputs)
    return width * (macs / _MACS_PER_MS + elements / _BYTES_PER_MS)


def _elements(values: Iterable[ir.Value]) -> int:
    return sum(math.prod(static_shape(value)) for value in values)
