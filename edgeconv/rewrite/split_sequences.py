"""Replace a sequence of tensors that is only indexed by a Split."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value, static_shape
from edgeconv.rewrite._edit import add_constant, substitute
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["SplitSequences"]


class SplitSequences:
    """`SplitToSequence` read only by `SequenceAt` with constant indices becomes `Split`.

    PyTorch's exporter writes `chunk` and `split` as sequences, which no device runtime knows.
    """

    name = "split_sequences"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Replace in place; the details name each replaced node."""
        details = []
        for node in list(model.graph):
            source = node.inputs[0] if node.op_type == "SplitToSequence" else None
            sizes = _sizes(node, source) if source is not None else None
            readers = [use.node for use in node.outputs[0].uses()]
            indices = [index for reader in readers if (index := _index(reader)) is not None]
            if source is None or sizes is None or len(indices) < len(readers) or node.outputs[0].is_graph_output():
                continue
            split = ir.node(
                "Split",
                [source, add_constant(model.graph, f"{node.name}.sizes", np.array(sizes, np.int64))],
                {"axis": node.attributes.get_int("axis", 0)},
                num_outputs=len(sizes),
                name=(node.name or "").replace("SplitToSequence", "Split"),
            )
            split.metadata_props.update(node.metadata_props)
            for number, output in enumerate(split.outputs):
                output.name, output.type = f"{node.outputs[0].name}_part{number}", source.type
            model.graph.insert_after(node, split)
            for reader, index in zip(readers, indices, strict=True):
                substitute(reader.outputs[0], split.outputs[index])
            model.graph.remove([*readers, node], safe=True)
            details.append(f"{node.name}: {len(sizes)} parts")
        return RewriteResult(len(details), tuple(details))


def _sizes(node: ir.Node, source: ir.Value) -> list[int] | None:
    """Size of each part along the split axis; None when it is not known or the axis is dropped."""
    sizes = constant_value(node.inputs[1]) if len(node.inputs) > 1 else None
    if sizes is None or not node.attributes.get_int("keepdims", 1):
        return None
    if sizes.ndim:
        return [int(size) for size in sizes]
    total, step = static_shape(source)[node.attributes.get_int("axis", 0)], int(sizes)
    return [min(step, total - start) for start in range(0, total, step)]


def _index(node: ir.Node) -> int | None:
    position = constant_value(node.inputs[1]) if node.op_type == "SequenceAt" else None
    return None if position is None else int(position)
