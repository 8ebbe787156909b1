"""Bound the numbers that take values out of a Softmax: infinity has no place on a grid, nor in fp16."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.attention import mask_operands
from edgeconv.rewrite._edit import replace_constant
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["BoundMasks"]

_LOWEST = -1e4  # exp(x - 1e4) is 0 in float32 for every score x below 9800; the least fp16 is -65504


class BoundMasks:
    """What a mask adds to scores, or puts in their place, is -1e4 where it was less: -inf, or the least float32.

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
                replace_constant(node, index, "bounded", np.maximum(array, np.float32(_LOWEST)))
                details.append(f"{node.name}: {float(array.min()):.3g} to {_LOWEST:g}")
        return RewriteResult(len(details), tuple(details))
