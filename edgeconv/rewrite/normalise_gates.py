"""Give every channel of a constant gate the maximum 1 and move its magnitude into the convolution behind it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.graph import only_reader
from edgeconv.rewrite._edit import AffineLayer, Array, by_channel, constant_operand, replace_constant, substitute
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["NormaliseGates", "gate_of", "gated_layer", "replace_gate"]


class NormaliseGates:
    """Rescale `Conv(x * G)`, where G is a constant map and the product has no other reader.

    Runtimes quantise G with one scale for all channels, so a channel of small gates would be rounded away.

    1. G becomes G[c] / max|G[c]| and column c of the convolution is multiplied by max|G[c]|; zero padding stays zero.
    2. A gate that is the same at every position goes into the convolution altogether, and the Mul away.
    3. G becomes the second operand and gets a batch axis.
    """

    name = "normalise_gates"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Normalise in place; the details give each gate's spread of channel maxima."""
        details = []
        for node in list(model.graph):
            gate = gate_of(node)
            layer = gated_layer(node)
            if gate is None or layer is None:
                continue
            computed, values = gate
            maxima = np.broadcast_to(np.abs(values).max(axis=tuple(range(1, values.ndim))), (layer.in_channels,))
            peaks = np.where(maxima > 0, maxima, 1.0)
            spatial = values.size // values.shape[0]
            if spatial == 1:
                layer.scale_inputs(np.broadcast_to(values.reshape(-1), (layer.in_channels,)))
                if not substitute(node.outputs[0], computed):
                    continue
                layer.write()
                model.graph.remove(node, safe=True)
                details.append(f"{node.name}: the same everywhere, folded into {layer.node.name}")
                continue
            if (peaks == 1.0).all():
                continue
            layer.scale_inputs(peaks)
            layer.write()
            shape = (-1, *(1,) * (values.ndim - 1))
            normalised = values / peaks[: values.shape[0]].reshape(shape)
            replace_gate(node, computed, normalised)
            live = peaks[maxima > 0]
            details.append(f"{node.name}: channel maxima {live.min():.3g} to {live.max():.3g}, now 1")
        return RewriteResult(len(details), tuple(details))


def gate_of(node: ir.Node) -> tuple[ir.Value, Array] | None:
    """(gated value, gate map in float64 as (channel, *spatial), size 1 where repeated) of a Mul by a constant."""
    split = constant_operand(node) if node.op_type == "Mul" else None
    if split is None or split[0].shape is None or split[0].shape != node.outputs[0].shape:
        return None
    values = by_channel(split[1], split[0].shape.rank())
    if values is None or values.dtype != np.float32 or values.ndim < 2:
        return None
    return split[0], values.astype(np.float64)


def gated_layer(node: ir.Node) -> AffineLayer | None:
    """The convolution without groups that alone reads the product of a gate."""
    reader = only_reader(node.outputs[0])
    layer = AffineLayer.read(reader) if reader is not None and reader.op_type == "Conv" else None
    return layer if layer is not None and layer.group == 1 else None


def replace_gate(node: ir.Node, computed: ir.Value, values: Array) -> None:
    """Make `node` multiply `computed` by the map `values`, (channel, *spatial), stored as float32 with a batch axis."""
    index = 0 if node.inputs[1] is computed else 1
    replace_constant(node, index, "gate", values[None])
    gate = node.inputs[index]
    node.replace_input_with(0, computed)
    node.replace_input_with(1, gate)
