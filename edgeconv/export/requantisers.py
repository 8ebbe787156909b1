"""Quantisers that change no value, taken out for runtimes that do not see through them."""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.graph import constant_value

__all__ = ["drop_requantisers"]

_MOVES_VALUES = {"Concat", "DepthToSpace", "Flatten", "MaxPool", "Reshape", "SpaceToDepth", "Squeeze", "Transpose"}


def drop_requantisers(model: ir.Model) -> int:
    """Remove, in place, each Q/DQ pair behind an operator that only moves values which are on its grid already.

    It is exact. Returns how many pairs went.
    """
    dropped = 0
    for node in list(model.graph):
        if node.op_type not in _MOVES_VALUES or len(node.outputs) != 1:
            continue
        readers = node.outputs[0].consumers()
        if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or node.outputs[0].is_graph_output():
            continue
        (quantise,) = readers
        sources = [value.producer() for value in node.inputs if value is not None and constant_value(value) is None]
        dequantisers = quantise.outputs[0].consumers()
        around = [*sources, *dequantisers]
        if any(n is None or n.op_type != "DequantizeLinear" or _grid(n) != _grid(quantise) for n in around) or any(
            n.outputs[0].is_graph_output() for n in dequantisers
        ):
            continue
        for dequantise in dequantisers:
            ir.convenience.replace_all_uses_with(dequantise.outputs[0], node.outputs[0])
        model.graph.remove([*dequantisers, quantise], safe=True)
        dropped += 1
    return dropped


def _grid(node: ir.Node) -> list[bytes]:
    constants = (constant_value(value) for value in node.inputs[1:])
    return [constant.tobytes() for constant in constants if constant is not None]
