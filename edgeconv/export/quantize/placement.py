"""Where the quantisers are when only operators with weights compute on integers, as TensorRT wants it.

"Quantize all inputs of weighted operations", "by default, don't quantize the outputs of weighted operations" (TensorRT
documentation, "Q/DQ Layer-Placement Recommendations"): it fuses what is pointwise into the kernel before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir

from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import Output

__all__ = ["keep_weighted"]

_READS_INPUT = "reads an input of the graph, which stays in float"
_POINTWISE = "has no weights: it is fused into a neighbour, in float"


def keep_weighted(operations: Sequence[Operation], graph: ir.Graph) -> tuple[list[Operation], list[ir.Value]]:
    """Turn to float what need not be int8, and name the tensors to quantise.

    1. The inputs of the graph stay in float, and so does an operator with weights that reads one, directly or through
       operators that move values: an image, which is never negative, would keep 7 bits with a zero point of 0, and
       TensorRT lacks int8 kernels for some first layers.
    2. Every other operator with weights is int8; its data inputs are quantised, its output is not.
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
        decided.append(operation)
    order = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    return decided[::-1], [value for value in order if value in quantised]


def _decide(operation: Operation, image: set[ir.Value], quantised: dict[ir.Value, None]) -> Operation:
    if operation.rule.weighted:
        reason = "" if image.isdisjoint(operation.inputs) else _READS_INPUT
    else:
        needed = _moves(operation) and any(value in quantised for value in operation.outputs)
        reason = "" if needed else _POINTWISE
    return dataclasses.replace(operation, reason=reason)


def _moves(operation: Operation) -> bool:
    return operation.rule.output is Output.SHARED
