"""onnxsim on a graph of fixed shapes, with names and module paths kept."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass

from edgeconv.errors import ExportError
from edgeconv.graph import infer_shapes, non_finite_constants, restore_modules, static_shape

__all__ = ["simplify"]


def simplify(model: ir.Model) -> ir.Model:
    """Clean up what the rewrites left, and make sure that every value has a name and a fixed shape.

    onnxsim keeps the names of nodes and values but drops all metadata, which is restored. Constant nodes become
    initialisers.

    Returns:
        A new graph with the same ports; `model` is left as it is.

    Raises:
        ExportError: onnxsim failed, changed the ports, folded something into NaN, or a shape depends on the data.
    """
    import onnxsim

    try:
        proto, _ = onnxsim.simplify(ir.to_proto(model))
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise ExportError(f"onnxsim cannot simplify the graph: {error}") from error
    simplified: ir.Model = ir.from_proto(proto)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(simplified)
    RemoveUnusedNodesPass()(simplified)
    if _ports(simplified) != _ports(model):
        raise ExportError(f"onnxsim changed the ports of the graph from {_ports(model)} to {_ports(simplified)}.")
    restore_modules(simplified, model)
    infer_shapes(simplified)
    for node in simplified.graph:
        for output in node.outputs:
            if output.name:
                static_shape(output)
    broken = sorted(set(non_finite_constants(simplified)) - set(non_finite_constants(model)))
    if broken:
        raise ExportError(
            f"Simplifying the graph made constants that are not finite: {', '.join(broken)}.",
            "Look for a division by zero or an underflow among the constants of the model.",
        )
    return simplified


def _ports(model: ir.Model) -> tuple[list[str | None], list[str | None]]:
    return [value.name for value in model.graph.inputs], [value.name for value in model.graph.outputs]
