"""Fold what does not depend on the data: coordinate encoders become gate maps, shape arithmetic disappears."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeconv.graph import constant_value, infer_shapes, static_shape
from edgeconv.rewrite._edit import add_constant, substitute
from edgeconv.rewrite._evaluate import Tensors, evaluate
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["FoldConstants"]

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_QUANTISATION = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
_SUBGRAPHS = frozenset({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})
_REPORTED_BYTES = 1024


class FoldConstants:
    """Evaluate every subgraph that depends on no graph input, whatever the size of its result.

    1. Identity, and Dropout in inference, are bypassed.
    2. `Shape` and `Size` of a value of static shape are constants; `CastLike` becomes `Cast`.
    3. Nodes whose inputs are all constant are computed by ONNX Runtime in the graph's own precision, but for random
       numbers, quantisation, and nodes with subgraphs.
    4. Nodes and initialisers that nothing reads are removed.
    """

    name = "fold_constants"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Fold in place; the details name every constant of 1 KiB and more and the bytes that the graph grew by."""
        before = _constant_bytes(model)
        changed, folded = 0, Tensors()
        while True:
            found = sum(_bypass(node) or _resolve(model.graph, node) for node in list(model.graph))
            results = _fold(model)
            folded |= results
            if not found + len(results) + RemoveUnusedNodesPass()(model).modified:
                break
            changed += found + len(results)
            infer_shapes(model)  # a shape that was computed is a constant now, and so may be the next one
        details = [
            f"{name}: constant {'x'.join(map(str, array.shape))} {array.dtype}, {array.nbytes} bytes"
            for name, array in folded.items()
            if array.nbytes >= _REPORTED_BYTES
        ]
        return RewriteResult(changed, (*details, f"constants grew by {_constant_bytes(model) - before} bytes"))


def _constant_bytes(model: ir.Model) -> int:
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def _bypass(node: ir.Node) -> bool:
    """Let the readers of an Identity or of a Dropout in inference read its input."""
    source = node.inputs[0] if node.inputs else None
    if node.op_type == "Dropout":
        training = node.inputs[2] if len(node.inputs) > 2 else None
        if (training is not None and constant_value(training) != np.False_) or any(v.uses() for v in node.outputs[1:]):
            return False
    elif node.op_type != "Identity":
        return False
    return source is not None and substitute(node.outputs[0], source)


def _resolve(graph: ir.Graph, node: ir.Node) -> bool:
    """Replace what needs only the shape or the type of a computed value."""
    source = node.inputs[0] if node.inputs else None
    if node.op_type == "CastLike" and node.inputs[1] is not None and node.inputs[1].dtype is not None:
        cast = ir.node("Cast", [source], {"to": node.inputs[1].dtype.value}, name=node.name)
        cast.metadata_props.update(node.metadata_props)
        cast.outputs[0].name, cast.outputs[0].dtype = f"{node.outputs[0].name}_cast", node.inputs[1].dtype
        graph.insert_after(node, cast)
        return substitute(node.outputs[0], cast.outputs[0])
    if source is None or source.shape is None or not source.shape.is_static() or node.outputs[0].is_graph_output():
        return False
    shape = static_shape(source)
    if node.op_type == "Shape":
        part = shape[node.attributes.get_int("start", 0) : node.attributes.get_int("end", len(shape))]
        answer = np.array(part, np.int64)
    elif node.op_type == "Size":
        answer = np.array(np.prod(shape, dtype=np.int64), np.int64)
    else:
        return False
    return substitute(node.outputs[0], add_constant(graph, f"{node.outputs[0].name}_value", answer))


def _fold(model: ir.Model) -> Tensors:
    """Compute what the constant nodes hand on and put it in their place; the results by name."""
    constant = {value for value in model.graph.initializers.values() if not value.is_graph_input()}
    foldable: set[ir.Node] = set()
    for node in model.graph:
        if _is_foldable(node) and all(value is None or value in constant for value in node.inputs):
            foldable.add(node)
            constant.update(node.outputs)
    handed_on = [
        output
        for node in model.graph
        if node in foldable
        for output in node.outputs
        if any(use.node not in foldable for use in output.uses())
    ]
    results = _compute(model, foldable, [str(value.name) for value in handed_on]) if handed_on else {}
    for value, (name, array) in zip(handed_on, results.items(), strict=True):
        value.name = f"{name}_computed"
        substitute(value, add_constant(model.graph, name, array))
    return results


def _is_foldable(node: ir.Node) -> bool:
    return (
        node.domain in ("", "ai.onnx")
        and node.op_type not in _RANDOM | _QUANTISATION
        and not any(attribute.type in _SUBGRAPHS for attribute in node.attributes.values())
        and not any(output.is_graph_output() for output in node.outputs)
    )


def _compute(model: ir.Model, nodes: set[ir.Node], names: list[str]) -> Tensors:
    """Run a copy of the graph that is cut down to `nodes` and has the values `names` as its outputs."""
    part = model.clone()
    others = [copy for node, copy in zip(model.graph, list(part.graph), strict=True) if node not in nodes]
    values = ir.convenience.create_value_mapping(part.graph)
    part.graph.outputs.clear()
    part.graph.outputs.extend(values[name] for name in names)
    part.graph.remove(others, safe=True)
    part.graph.inputs.clear()
    RemoveUnusedNodesPass()(part)
    return evaluate(part, [{}])[0]
