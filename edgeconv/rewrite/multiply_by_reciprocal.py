"""Divide by a constant by multiplying: runtimes have an int8 Mul, but no int8 Div."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value, only_reader
from edgeconv.rewrite._edit import Array, replace_constant
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["MultiplyByReciprocal"]


class MultiplyByReciprocal:
    """``Div(x, c)`` becomes ``Mul(x, 1 / c)``, for example the scaling of attention's scores.

    Not before an Erf: runtimes know a GELU by its division by the root of 2.
    """

    name = "multiply_by_reciprocal"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Replace in place; the details name each replaced node."""
        details = []
        for node in list(model.graph):
            factor = _factor(node)
            if factor is None:
                continue
            reader = only_reader(node.outputs[0])
            if reader is not None and reader.op_type == "Erf":
                continue
            node.op_type = "Mul"
            replace_constant(node, 1, "reciprocal", factor)
            details.append(f"{node.name}: Mul")
        return RewriteResult(len(details), tuple(details))


def _factor(node: ir.Node) -> Array | None:
    """One over the constant divisor of a float Div; None when it is none, or a reciprocal is no normal float32."""
    if node.op_type != "Div" or constant_value(node.inputs[0]) is not None:
        return None
    divisor = constant_value(node.inputs[1])
    if divisor is None or divisor.dtype != np.float32 or not divisor.all():
        return None
    factor = (1 / divisor.astype(np.float64)).astype(np.float32)
    magnitude = np.abs(factor)
    normal = (magnitude >= np.finfo(np.float32).tiny) & np.isfinite(magnitude)
    return factor if bool(normal.all()) else None
