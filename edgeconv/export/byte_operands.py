"""Large constants beside operators that stay in float, as bytes in the file."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.quantize.grid import Grid
from edgeconv.export.quantize.placement import FLOAT_REASON, FUSED_IN_FLOAT
from edgeconv.graph import constant_value, register_constant

__all__ = ["store_operands_as_bytes"]

_LARGE = 4096  # elements; what is smaller makes no file large


def store_operands_as_bytes(model: ir.Model) -> int:
    """Replace, in place, large constant operands, as gate maps are, by a DequantizeLinear of 8-bit ones.

    Only of operators that a symmetric scheme leaves in float because they are fused into a neighbour; what a user
    wants in float stays so. They are rounded as the asymmetric scheme rounds them. OpenVINO (2026.4) makes floats of
    them when it loads the file and computes as before; the file has a quarter of the bytes.

    Returns how many were replaced.
    """
    replaced = 0
    for node in list(model.graph):
        if node.metadata_props.get(FLOAT_REASON) != FUSED_IN_FLOAT:
            continue
        for index, value in enumerate(node.inputs):
            array = constant_value(value)
            if value is None or array is None or array.dtype != np.float32 or array.size < _LARGE:
                continue
            grid = Grid.covering(float(array.min()), float(array.max()))
            scale, zero_point = np.array(grid.scale, np.float32), np.array(grid.zero_point, np.int8)
            inputs = [
                register_constant(model.graph, f"{value.name}/{node.name}/{name}", constant)
                for name, constant in (("q", grid.quantise(array)), ("scale", scale), ("zero_point", zero_point))
            ]
            output = ir.Value(name=f"{inputs[0].name}/dq", type=value.type, shape=value.shape)
            name = f"{inputs[0].name}/DequantizeLinear"
            model.graph.insert_before(node, ir.node("DequantizeLinear", inputs, outputs=[output], name=name))
            node.replace_input_with(index, output)
            replaced += 1
    return replaced
