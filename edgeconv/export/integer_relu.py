"""ReLU on integers, where ONNX Runtime cannot make it part of the integer convolution before it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.graph import constant_value, only_reader

__all__ = ["join_relus", "relus_on_integers"]

_NODE, _TENSOR = "relu.node", "relu.tensor"
_WEIGHTED = ("Conv", "Gemm")


def relus_on_integers(model: ir.Model) -> int:
    """Replace, in place, ``Conv -> Relu -> QuantizeLinear`` by ``Conv -> QuantizeLinear -> Clip`` where that is needed.

    ONNX Runtime drops a ReLU before a quantiser whose lowest integer stands for zero; any other one it keeps, and then
    computes the convolution in float. A tensor that shares its grid with negative ones, as the skip connection of a
    U-Net does with the upsampled tensor beside it, has such a quantiser. On integers ReLU is a maximum with the zero
    point. The same integers.

    Returns how many were replaced.
    """
    replaced = 0
    for node in list(model.graph):
        value = node.inputs[0] if node.op_type == "Relu" else None
        layer, quantise = (value.producer() if value is not None else None), only_reader(node.outputs[0])
        if value is None or layer is None or layer.op_type not in _WEIGHTED or only_reader(value) is not node:
            continue
        zero_point = constant_value(quantise.inputs[2]) if quantise is not None and len(quantise.inputs) > 2 else None
        if quantise is None or quantise.op_type != "QuantizeLinear" or zero_point is None or zero_point.ndim:
            continue
        if int(zero_point) == np.iinfo(zero_point.dtype).min:
            continue
        quantise.replace_input_with(0, value)
        stored = quantise.outputs[0]
        clipped = ir.Value(name=stored.name, type=stored.type, shape=stored.shape)
        clip = ir.node("Clip", [stored, quantise.inputs[2]], outputs=[clipped], name=f"{node.name}/integers")
        ir.convenience.replace_all_uses_with(stored, clipped)
        clip.replace_input_with(0, stored)
        stored.name = f"{stored.name}/before_relu"
        clip.metadata_props.update(node.metadata_props)
        clip.metadata_props.update({_NODE: str(node.name), _TENSOR: str(node.outputs[0].name)})
        model.graph.insert_after(quantise, clip)
        model.graph.remove(node, safe=True)
        replaced += 1
    return replaced


def join_relus(model: ir.Model) -> ir.Model:
    """The inverse, in place.

    Raises:
        ExportError: what is marked as such is something else.
    """
    for clip in list(model.graph):
        facts = clip.metadata_props
        if _TENSOR not in facts:
            continue
        stored = clip.inputs[0]
        quantise = stored.producer() if stored is not None else None
        before = quantise.inputs[0] if quantise is not None and quantise.op_type == "QuantizeLinear" else None
        if clip.op_type != "Clip" or stored is None or quantise is None or before is None:
            raise ExportError(f"{clip.name} is marked as a ReLU on integers and is none.", "Export it again.")
        real = ir.Value(name=facts[_TENSOR], type=ir.TensorType(ir.DataType.FLOAT), shape=before.shape)
        relu = ir.node("Relu", [before], outputs=[real], name=facts[_NODE])
        relu.metadata_props.update({key: word for key, word in facts.items() if key not in (_NODE, _TENSOR)})
        model.graph.insert_before(quantise, relu)
        quantise.replace_input_with(0, real)
        name = clip.outputs[0].name
        ir.convenience.replace_all_uses_with(clip.outputs[0], stored)
        model.graph.remove(clip, safe=True)
        stored.name = name
    return model
