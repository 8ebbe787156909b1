"""Merge a pair of one-dimensional convolutions that reads few channels into one dense convolution."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgeconv.graph import only_reader, static_shape
from edgeconv.rewrite._edit import AffineLayer, Array, ints
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["MergeStemPair"]


class MergeStemPair:
    """A 1xkW convolution and a kHx1 one, in either order, with nothing between them become one of kHxkW.

    A stem's bottleneck has one or two channels, and rounding them to 8 bits costs more than any other tensor of the
    network. Exact only when the first convolution has no bias: the second one pads with zeros.

    Args:
        max_in_channels: of the pair's input.
        max_taps: input channels times kernel positions of the merged kernel. Up to 36, four channels of 3x3, a merged
            stem takes 0.4 to 0.85 of the pair's time in int8 and at most 1.4 of it in float32 (ONNX Runtime, 256x256,
            one thread), whatever the ratio of multiplications: writing the output takes the time.
    """

    name = "merge_stem_pair"
    equivalence: Equivalence = "exact"

    def __init__(self, max_in_channels: int = 4, max_taps: int = 36) -> None:
        self._max_in_channels = max_in_channels
        self._max_taps = max_taps

    def apply(self, model: ir.Model) -> RewriteResult:
        """Merge in place; the details give each pair's multiplications before and after."""
        details = []
        for node in list(model.graph):
            first = AffineLayer.read(node)
            reader = only_reader(node.outputs[0])
            second = AffineLayer.read(reader) if reader is not None else None
            if first is None or second is None or first.in_channels > self._max_in_channels:
                continue
            geometry = _combined_geometry(first, second)
            if first.bias.any() or geometry is None:
                continue
            pair_macs = _pixels(first) * first.weight.size + _pixels(second) * second.weight.size
            second.weight = _merged(first, second)
            if second.weight[0].size > self._max_taps:
                continue
            ratio = _pixels(second) * second.weight.size / pair_macs
            for attribute, values in geometry.items():
                second.node.attributes[attribute] = ir.AttrInt64s(attribute, values)
            second.write()
            second.node.replace_input_with(0, node.inputs[0])
            model.graph.remove(node, safe=True)
            details.append(f"{node.name} and {second.node.name}: one kernel, {ratio:.2g} times the multiplications")
        return RewriteResult(len(details), tuple(details))


def _combined_geometry(first: AffineLayer, second: AffineLayer) -> dict[str, tuple[int, ...]] | None:
    """Strides, pads and dilations of the merged kernel; None when the two are no separable pair.

    Along each axis one of the two must do nothing: kernel 1, stride 1, no padding.
    """
    if any(not _is_plain_conv(layer) or set(layer.weight.shape[2:]) == {1} for layer in (first, second)):
        return None
    strides, begins, ends, dilations = [], [], [], []
    for axis in range(2):
        if _does_nothing(first, axis):
            worker = second.node
        elif _does_nothing(second, axis):
            worker = first.node
        else:
            return None
        strides.append(ints(worker, "strides", 1)[axis])
        dilations.append(ints(worker, "dilations", 1)[axis])
        pads = _pads(worker)
        begins.append(pads[axis])
        ends.append(pads[axis + 2])
    return {"strides": tuple(strides), "pads": (*begins, *ends), "dilations": tuple(dilations)}


def _is_plain_conv(layer: AffineLayer) -> bool:
    return (
        layer.node.op_type == "Conv"
        and layer.group == 1
        and layer.weight.ndim == 4
        and layer.node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def _does_nothing(layer: AffineLayer, axis: int) -> bool:
    pads = _pads(layer.node)
    return (
        layer.weight.shape[2 + axis] == 1
        and ints(layer.node, "strides", 1)[axis] == 1
        and pads[axis] == pads[axis + 2] == 0
    )


def _pads(node: ir.Node) -> tuple[int, ...]:
    """(top, left, bottom, right)."""
    pads = ints(node, "pads", 0)
    return pads if len(pads) == 4 else (0, 0, 0, 0)


def _merged(first: AffineLayer, second: AffineLayer) -> Array:
    kernel = np.maximum(first.weight.shape[2:], second.weight.shape[2:])
    inner = np.broadcast_to(first.weight, (*first.weight.shape[:2], *kernel))
    outer = np.broadcast_to(second.weight, (*second.weight.shape[:2], *kernel))
    merged: Array = np.einsum("orhw,rihw->oihw", outer, inner)
    return merged


def _pixels(layer: AffineLayer) -> int:
    return math.prod(static_shape(layer.node.outputs[0])[2:])
