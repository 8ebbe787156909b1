"""ReLU behind the rounding, where OpenVINO's integer convolution for ARM cannot take it along."""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.quantize.placement import pays_in_integers
from edgeconv.graph import constant_value, only_reader

__all__ = ["move_relus"]


def move_relus(model: ir.Model) -> int:
    """Replace, in place, ``Conv -> Relu -> QuantizeLinear -> DequantizeLinear`` by ``Conv -> … -> Relu``.

    It is exact where the zero point is 0. Arm Compute Library's integer convolution rounds what it writes and has no
    room for an activation before that: OpenVINO (2026.4) then computes the convolution in float. Those that it had
    better compute so are left: see `pays_in_integers`.

    The tensor behind the quantiser keeps its name. Returns how many were replaced.
    """
    moved = 0
    for relu in list(model.graph):
        value = relu.inputs[0] if relu.op_type == "Relu" else None
        layer = value.producer() if value is not None and only_reader(value) is relu else None
        quantise = only_reader(relu.outputs[0])
        if value is None or layer is None or not pays_in_integers(layer) or quantise is None:
            continue
        zero_point = constant_value(quantise.inputs[2]) if quantise.op_type == "QuantizeLinear" else None
        readers = quantise.outputs[0].consumers()
        if zero_point is None or zero_point.any() or any(node.outputs[0].is_graph_output() for node in readers):
            continue
        quantise.replace_input_with(0, value)
        dequantise = readers[0]
        rounded = dequantise.outputs[0]
        clamped = ir.Value(name=rounded.name, type=rounded.type, shape=rounded.shape)
        for node in readers:
            ir.convenience.replace_all_uses_with(node.outputs[0], clamped)
        model.graph.remove(readers[1:], safe=True)
        behind = ir.node("Relu", [rounded], outputs=[clamped], name=relu.name)
        behind.metadata_props.update(relu.metadata_props)
        rounded.name = f"{rounded.name}/before_relu"
        model.graph.remove(relu, safe=True)
        model.graph.insert_after(dequantise, behind)
        moved += 1
    return moved
