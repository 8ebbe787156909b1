"""Q/DQ graphs with other operators in float, made in a moment: what was rounded for the int8 graph is kept."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgeconv.export.calibrate import Statistics
from edgeconv.export.quantize.groups import assign_grids
from edgeconv.export.quantize.insert import insert_quantisers
from edgeconv.export.quantize.plan import plan_operations
from edgeconv.export.quantize.scheme import QuantisationScheme
from edgeconv.export.quantize.units import integer_constant
from edgeconv.export.quantize.weights import BIAS_LIMIT, bias_scale
from edgeconv.graph import constant_value

__all__ = ["make_trial"]


def make_trial(
    fp32: ir.Model, statistics: Statistics, scheme: QuantisationScheme, int8: ir.Model, float_nodes: Collection[str]
) -> ir.Model:
    """The Q/DQ graph with `float_nodes` in float, without a sequential pass of its own.

    Quantising anew refines every layer on its inputs, which takes seconds to minutes. Here the layers that stay int8
    take weights and biases over from `int8`, which differ little from those that a pass would find. With no float
    nodes the result computes what `int8` computes.

    Args:
        fp32: the graph that was quantised.
        statistics: of all its float tensors.
        scheme: how `int8` was quantised.
        int8: the Q/DQ graph with everything in int8.
        float_nodes: operators, by node name.

    Raises:
        ExportError: weights that are not finite, or missing statistics.
    """
    model = fp32.clone()
    plan = plan_operations(model.graph, kept_float=float_nodes)
    assignment = assign_grids(plan, statistics, scheme)
    insert_quantisers(model.graph, plan, assignment, with_bias=scheme.bias_correction, symmetric=scheme.symmetric)
    refined = {node.name: node for node in int8.graph}
    for node in model.graph:
        if node.name in refined and node.op_type == refined[node.name].op_type:
            _take_over(node, refined[node.name])
    return model


def _take_over(node: ir.Node, refined: ir.Node) -> None:
    """Give `node` the integers of `refined`; its bias is rounded anew where its input is on another grid."""
    weights, from_weights = integer_constant(node, 1), integer_constant(refined, 1)
    if weights is None or from_weights is None:
        return
    weights.store(from_weights.integers, from_weights.scale)
    bias, from_bias = integer_constant(node, 2), integer_constant(refined, 2)
    source = None if node.inputs[0] is None else node.inputs[0].producer()
    if bias is None or from_bias is None or source is None or source.op_type != "DequantizeLinear":
        return
    scale = constant_value(source.inputs[1])
    if scale is None:
        return
    steps = bias_scale(float(scale), from_weights.scale, len(from_bias.integers))
    integers = np.rint(from_bias.integers.astype(np.float64) * from_bias.scale / steps)
    bias.store(np.clip(integers, 1 - BIAS_LIMIT, BIAS_LIMIT - 1).astype(np.int32), steps)
