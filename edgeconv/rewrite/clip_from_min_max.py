"""Write a clamp that an exporter spelled with Max and Min as Relu or Clip."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.graph import only_reader
from edgeconv.rewrite._edit import add_constant, constant_operand, substitute
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["ClipFromMinMax"]


class ClipFromMinMax:
    """`Max(x, a)` by a number becomes Clip(x, a), with a `Min(., b)` behind it Clip(x, a, b); `Max(x, 0)` alone Relu.

    Layers fuse an activation; a Max with a constant would be an operator of its own with a quantised constant.
    """

    name = "clip_from_min_max"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Replace in place; the details name each replaced node."""
        details = []
        for node in list(model.graph):
            lower = _bound(node, "Max")
            if lower is None:
                continue
            source, low = lower
            last, high = node, None
            reader = only_reader(node.outputs[0])
            upper = _bound(reader, "Min") if reader is not None else None
            if reader is not None and upper is not None and upper[1] >= low:
                last, high = reader, upper[1]
            bounds = [
                add_constant(model.graph, f"{node.name}.{role}", np.float32(value))
                for role, value in (("low", low), ("high", high))
                if value is not None
            ]
            relu = low == 0.0 and high is None
            kind = "Relu" if relu else "Clip"
            new = ir.node(kind, [source] if relu else [source, *bounds], name=f"{node.name}_{kind}")
            new.metadata_props.update(node.metadata_props)
            new.outputs[0].name, new.outputs[0].type = f"{node.outputs[0].name}_{kind}", source.type
            model.graph.insert_after(last, new)
            substitute(last.outputs[0], new.outputs[0])
            model.graph.remove([node] if last is node else [last, node], safe=True)
            details.append(f"{node.name}: {kind}")
        return RewriteResult(len(details), tuple(details))


def _bound(node: ir.Node, op_type: str) -> tuple[ir.Value, float] | None:
    """(clamped value, bound) of a Max or Min with one number."""
    split = constant_operand(node) if node.op_type == op_type else None
    if split is None or split[1].size != 1 or split[1].dtype != np.float32 or split[0].shape != node.outputs[0].shape:
        return None
    return split[0], float(split[1].reshape(()))
