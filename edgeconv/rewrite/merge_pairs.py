"""Merge a pair of convolutions with nothing between them into one dense convolution."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UsageError
from edgeconv.graph import only_reader, static_shape
from edgeconv.rewrite._edit import AffineLayer, Array, ints
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["MergePairs", "Pair", "factor_pairs"]

_MAX_STEM_CHANNELS = 4
_MAX_STEM_TAPS = 36


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two convolutions that have the same result as one; `geometry` holds the attributes of that one."""

    first: AffineLayer
    second: AffineLayer
    geometry: dict[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        """The second convolution's node name, which the merged one keeps."""
        return str(self.second.node.name)

    @property
    def is_stem(self) -> bool:
        """Whether it reads few channels, and dense takes no more time than factored.

        Up to 36 taps (input channels times kernel positions; four channels of 3x3) a merged stem takes 0.4 to 0.85 of
        the pair's time in int8 and at most 1.4 of it in float32 (ONNX Runtime, 256x256, one thread), whatever the
        ratio of multiplications: writing the output takes the time.
        """
        taps = self.first.weight.shape[1] * math.prod(_kernel(self))
        both_filter = all(set(layer.weight.shape[2:]) != {1} for layer in (self.first, self.second))
        return both_filter and self.first.in_channels <= _MAX_STEM_CHANNELS and taps <= _MAX_STEM_TAPS

    @property
    def pixels(self) -> int:
        """Pixels of the pair's output."""
        return _pixels(self.second)

    @property
    def macs(self) -> int:
        """Multiplications of the two convolutions."""
        return sum(_pixels(layer) * layer.weight.size for layer in (self.first, self.second))

    @property
    def merged_macs(self) -> int:
        """Multiplications of the merged convolution."""
        return _pixels(self.second) * self.second.out_channels * self.first.in_channels * math.prod(_kernel(self))


def factor_pairs(graph: ir.Graph) -> Iterator[Pair]:
    """The pairs of `graph` that one convolution can stand for exactly, in graph order.

    Along each axis one of the two does nothing: kernel 1, stride 1, no padding. The first one has no bias, because the
    second one pads with zeros.
    """
    for node in graph:
        first = AffineLayer.read(node)
        reader = only_reader(node.outputs[0]) if node.outputs else None
        second = AffineLayer.read(reader) if reader is not None else None
        if first is None or second is None or first.bias.any():
            continue
        geometry = _combined_geometry(first, second)
        if geometry is not None:
            yield Pair(first, second, geometry)


class MergePairs:
    """A 1xkW convolution and a kHx1 one, or a kHxkW one and a 1x1, with nothing between them become one of kHxkW.

    The bottleneck between them is never rounded then. A stem's has one or two channels, and rounding them to 8 bits
    costs more than any other tensor of the network: stems are merged where nothing is named.

    Args:
        names: node names of the second convolutions of the pairs to merge; None for the stems.
    """

    name = "merge_pairs"
    equivalence: Equivalence = "exact"

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = names

    def apply(self, model: ir.Model) -> RewriteResult:
        """Merge in place; the details give each pair's multiplications before and after.

        Raises:
            UsageError: a name that no pair has.
        """
        details = []
        for name in self._chosen(model.graph):
            pairs = {pair.name: pair for pair in factor_pairs(model.graph)}  # anew: pairs may share a convolution
            if name not in pairs:
                raise UsageError(
                    f"No factor pair of the graph has the second convolution {name!r}.",
                    f"There are: {', '.join(pairs) or 'none'}.",
                )
            pair = pairs[name]
            if self._names is None and not pair.is_stem:  # no longer, after the merge before
                continue
            first, second = pair.first.node, pair.second.node
            ratio = pair.merged_macs / pair.macs
            pair.second.weight = _merged(pair)
            for attribute, values in pair.geometry.items():
                second.attributes[attribute] = ir.AttrInt64s(attribute, values)
            pair.second.write()
            second.replace_input_with(0, first.inputs[0])
            model.graph.remove(first, safe=True)
            details.append(f"{first.name} and {name}: one kernel, {ratio:.2g} times the multiplications")
        return RewriteResult(len(details), tuple(details))

    def _chosen(self, graph: ir.Graph) -> Collection[str]:
        if self._names is not None:
            return self._names
        return [pair.name for pair in factor_pairs(graph) if pair.is_stem]


def _combined_geometry(first: AffineLayer, second: AffineLayer) -> dict[str, tuple[int, ...]] | None:
    """Strides, pads and dilations of the merged kernel; None when an axis needs both convolutions."""
    layers = (first, second)
    if not all(map(_is_plain_conv, layers)) or all(set(layer.weight.shape[2:]) == {1} for layer in layers):
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


def _kernel(pair: Pair) -> tuple[int, ...]:
    sizes = zip(pair.first.weight.shape[2:], pair.second.weight.shape[2:], strict=True)
    return tuple(max(one, other) for one, other in sizes)


def _merged(pair: Pair) -> Array:
    inner, outer = (
        np.broadcast_to(layer.weight, (*layer.weight.shape[:2], *_kernel(pair))) for layer in (pair.first, pair.second)
    )
    merged: Array = np.einsum("orhw,rihw->oihw", outer, inner)
    return merged


def _pixels(layer: AffineLayer) -> int:
    return math.prod(static_shape(layer.node.outputs[0])[2:])
