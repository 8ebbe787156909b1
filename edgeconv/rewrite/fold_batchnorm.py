"""Fold batch normalisation, and any scale and shift by channel, into the layer before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value, only_reader
from edgeconv.rewrite._edit import AffineLayer, Array, by_channel, constant_operand, substitute
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["FoldBatchNorm"]


class FoldBatchNorm:
    """Fold `y -> a[c] y + b[c]` into the Conv, ConvTranspose, Gemm or MatMul that computes y and has no other reader.

    1. BatchNormalization in inference: a = gamma / sqrt(var + eps), b = beta - mean a, in float64.
    2. Mul, Div, Add and Sub by a constant that varies with the channel only: exporters write normalisation like this.

    A normalisation without such a layer before it is left as it is.
    """

    name = "fold_batchnorm"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Fold in place; the details name each folded node."""
        details = []
        for node in list(model.graph):
            layer = AffineLayer.read(node)
            while layer is not None and (reader := only_reader(node.outputs[0])) is not None:
                affine = _affine_by_channel(reader, layer.out_channels)
                if affine is None or (affine[1].any() and not layer.takes_bias):
                    break
                layer.scale_outputs(affine[0])
                layer.bias = layer.bias + affine[1]
                if not substitute(reader.outputs[0], node.outputs[0]):
                    break
                layer.write()
                model.graph.remove(reader, safe=True)
                details.append(f"{reader.name} into {node.name}")
        return RewriteResult(len(details), tuple(details))


def _affine_by_channel(node: ir.Node, channels: int) -> tuple[Array, Array] | None:
    """The scale and the shift, one for each channel, that `node` applies to its computed input; else None."""
    if node.op_type == "BatchNormalization":
        return _batch_norm(node)
    split = constant_operand(node) if node.op_type in _BINARY else None
    if split is None:
        return None
    computed, constant = split
    if computed.shape is None or (node.op_type in ("Sub", "Div") and computed is not node.inputs[0]):
        return None
    operand = by_channel(constant, computed.shape.rank())
    if operand is None or operand.size != operand.shape[0] or operand.shape[0] not in (1, channels):
        return None
    values = np.broadcast_to(operand.reshape(-1).astype(np.float64), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    return _BINARY[node.op_type](values, ones, zeros)


_BINARY: dict[str, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    "Add": lambda value, one, zero: (one, value),
    "Div": lambda value, one, zero: (1.0 / value, zero),
    "Mul": lambda value, one, zero: (value, zero),
    "Sub": lambda value, one, zero: (one, -value),
}


def _batch_norm(node: ir.Node) -> tuple[Array, Array] | None:
    parameters = [constant_value(value) for value in node.inputs[1:5]]
    if any(parameter is None for parameter in parameters) or node.attributes.get_int("training_mode"):
        return None
    gamma, beta, mean, variance = (np.asarray(parameter, np.float64) for parameter in parameters)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale
