"""Where the quantisers are when only operators with weights compute on integers, as TensorRT and OpenVINO on ARM want.

"Quantize all inputs of weighted operations", "by default, don't quantize the outputs of weighted operations" (TensorRT
documentation, "Q/DQ Layer-Placement Recommendations"): it fuses what is pointwise into the kernel before it.

The integer convolutions of Arm Compute Library write integers only: OpenVINO computes any other in float.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import onnx_ir as ir

from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import Output
from edgeconv.graph import static_shape

__all__ = ["FLOAT_REASON", "FUSED_IN_FLOAT", "Placement", "keep_weighted", "pays_in_integers"]

FLOAT_REASON = "edgeconv.float"
"""Under this name a node of a Q/DQ graph says why it computes in float."""

FUSED_IN_FLOAT = "has no weights: it is fused into a neighbour, in float"

_READS_INPUT = "reads an input of the graph, which stays in float"
_FEWEST_CHANNELS = 16


class Placement(enum.Enum):
    """What has a quantiser."""

    EVERYWHERE = enum.auto()
    """All that operators with an int8 form read and write."""
    WEIGHTED_INPUTS = enum.auto()
    """What operators with weights read."""
    CONVOLUTION_OUTPUTS = enum.auto()
    """What operators with weights read, and what convolutions write that `pays_in_integers`, no output of the graph."""


def keep_weighted(
    operations: Sequence[Operation], graph: ir.Graph, placement: Placement
) -> tuple[list[Operation], list[ir.Value]]:
    """Turn to float what need not be int8, and name the tensors to quantise.

    1. The inputs of the graph stay in float, and so does an operator with weights that reads one, directly or through
       operators that move values: an image, which is never negative, would keep 7 bits with a zero point of 0, and
       TensorRT lacks int8 kernels for some first layers.
    2. Every other operator with weights is int8; its data inputs are quantised, its output where `placement` says so.
    3. Operators that move values towards them are int8, on one quantiser.
    4. Everything else computes in float.
    """
    image = set(graph.inputs)
    for operation in operations:
        if operation.is_int8 and _moves(operation) and operation.inputs and image.issuperset(operation.inputs):
            image.update(operation.outputs)
    decided: list[Operation] = []
    quantised: dict[ir.Value, None] = {}
    for operation in reversed(operations):
        if operation.is_int8:
            operation = _decide(operation, image, quantised)
        if operation.is_int8:
            quantised.update(dict.fromkeys(operation.inputs))
            if _moves(operation):
                quantised.update(dict.fromkeys(operation.outputs))
            elif placement is Placement.CONVOLUTION_OUTPUTS and pays_in_integers(operation.node):
                quantised.update((value, None) for value in operation.outputs if not value.is_graph_output())
        decided.append(operation)
    order = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    return decided[::-1], [value for value in order if value in quantised]


def pays_in_integers(node: ir.Node) -> bool:
    """Whether OpenVINO's integer convolution for ARM, which rounds what it writes, is worth that for `node`.

    OpenVINO 2026.4 has one for convolutions of one group, and prefers floats for 3x3 of stride 1 (Winograd). In counted
    instructions of a Cortex-A76 a network around one takes 0.65 to 0.85 of the time with 16 input channels and more
    (1x1 of 16: as long), and 1.05 to 1.25 with 4 to 12: docs/openvino-arm.md.
    """
    weights = node.inputs[1] if node.op_type == "Conv" else None
    if weights is None or node.attributes.get_int("group", 1) != 1:
        return False
    _, channels, *kernel = static_shape(weights)
    winograd = kernel == [3, 3] and set(node.attributes.get_ints("strides", [1, 1])) == {1}
    return channels >= _FEWEST_CHANNELS and not winograd


def _decide(operation: Operation, image: set[ir.Value], quantised: dict[ir.Value, None]) -> Operation:
    if operation.rule.weighted:
        reason = "" if image.isdisjoint(operation.inputs) else _READS_INPUT
    else:
        needed = _moves(operation) and any(value in quantised for value in operation.outputs)
        reason = "" if needed else FUSED_IN_FLOAT
    return dataclasses.replace(operation, reason=reason)


def _moves(operation: Operation) -> bool:
    return operation.rule.output is Output.SHARED
