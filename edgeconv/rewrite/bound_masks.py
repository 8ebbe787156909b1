"""Bound the numbers that take values out of a Softmax: infinity has no place on a grid, nor in fp16."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.attention import feeds_softmax, mask_operands
from edgeconv.graph import constant_value
from edgeconv.rewrite._edit import Array, replace_constant
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["BoundMasks"]

_LOWEST = -1e4  # exp(x - 1e4) is 0 in float32 for every score x below 9800; the least fp16 is -65504


class BoundMasks:
    """What a mask adds to scores, or puts in their place, is -1e4 where it was less: -inf, or the least float32.

    Where that is put in the place of scores by a constant condition it is added to them instead: LiteRT has no Where.
    The same to the last bit where a row has a score that is not masked.
    """

    name = "bound_masks"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Replace in place; the details name each node with such a constant."""
        details = []
        for softmax in list(model.graph):
            for node, index, array in list(mask_operands(softmax)):
                if not (array < _LOWEST).any():
                    continue
                bounded = np.maximum(array, np.float32(_LOWEST))
                if not _add_instead(node, index, bounded):
                    replace_constant(node, index, "bounded", bounded)
                details.append(f"{node.name}: {float(array.min()):.3g} to {_LOWEST:g}")
        return RewriteResult(len(details), tuple(details))


def _add_instead(where: ir.Node, index: int, array: Array) -> bool:
    """``Where(c, k, x)`` as ``Add(x, Where(c, k, 0))``, where c is constant, k masks and only a Softmax reads it."""
    condition = constant_value(where.inputs[0]) if where.op_type == "Where" else None
    if condition is None or array.max() > _LOWEST or not feeds_softmax(where):
        return False
    scores = where.inputs[3 - index]
    mask = np.where(condition if index == 1 else ~condition, array, np.float32(0))
    where.op_type = "Add"
    where.resize_inputs(2)
    where.replace_input_with(0, scores)
    replace_constant(where, 1, "mask", mask)
    return True
