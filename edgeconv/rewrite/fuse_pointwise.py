"""Fuse a 1x1 convolution into the 1x1 convolution behind it."""

from __future__ import annotations

import math

import onnx_ir as ir

from edgeconv.graph import only_reader, static_shape
from edgeconv.rewrite._edit import AffineLayer, ints
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["FusePointwise"]


class FusePointwise:
    """Two 1x1 convolutions with nothing between them and no other reader become one: W = W2 W1, b = W2 b1 + b2.

    Computed in float64, and only when the fused one needs no more multiplications than the two.
    """

    name = "fuse_pointwise"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Fuse in place; the details name each pair."""
        details = []
        for node in list(model.graph):
            first = AffineLayer.read(node)
            reader = only_reader(node.outputs[0])
            second = AffineLayer.read(reader) if reader is not None else None
            if first is None or second is None or not (first.is_pointwise() and second.is_pointwise()):
                continue
            if set(ints(node, "strides", 1)) != {1} or _macs(first) + _macs(second) < _fused_macs(first, second):
                continue
            outer = second.weight[:, :, 0, 0]
            second.bias = second.bias + outer @ first.bias
            second.weight = (outer @ first.weight[:, :, 0, 0])[:, :, None, None]
            second.write()
            second.node.replace_input_with(0, node.inputs[0])
            model.graph.remove(node, safe=True)
            details.append(f"{node.name} into {second.node.name}")
        return RewriteResult(len(details), tuple(details))


def _pixels(layer: AffineLayer) -> int:
    return math.prod(static_shape(layer.node.outputs[0])[2:])


def _macs(layer: AffineLayer) -> int:
    return _pixels(layer) * layer.out_channels * layer.in_channels


def _fused_macs(first: AffineLayer, second: AffineLayer) -> int:
    return _pixels(second) * second.out_channels * first.in_channels
