"""Cross-layer equalisation: bring the channels of every tensor closer to one range, half-way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
import onnx_ir as ir

from edgeconv.graph import constant_value, only_reader
from edgeconv.rewrite._edit import AffineLayer, Array
from edgeconv.rewrite._pass import Equivalence, RewriteResult
from edgeconv.rewrite.equalise_bottlenecks import bottleneck
from edgeconv.rewrite.normalise_gates import gate_of

__all__ = ["EqualiseChannels"]

T = TypeVar("T")

_MIN_RELATIVE_RANGE = 1e-2

# f(s x) = s f(x) for every s > 0, channel by channel.
_HANDS_ON = frozenset(
    {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool", "PRelu", "Relu", "Resize"}
)
_SAME_QUANTISER = frozenset({"AveragePool", "DepthToSpace", "MaxPool", "Resize", "SpaceToDepth"})
_FUSES_RELU = frozenset({"Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "Mul", "Sub"})


class EqualiseChannels:
    """Scale channel c of every tensor by (range_c / range)^-strength, which the layers before and behind absorb.

    1. Relu, LeakyRelu, PRelu, pooling, resizing and a constant gate hand the scales on; Concat joins those of its
       inputs; DepthToSpace and SpaceToDepth have one scale for the channels that become one.
    2. Scales are 1 at the graph's inputs and outputs, in a bottleneck between two convolutions (it has a gauge of its
       own), and at every operator not named here, both operands of an Add among them.
    3. A channel's range is relative to the largest of the tensors that must share its quantiser, and counts as 1e-2 at
       least. Where several quantisers see the channel, the geometric mean of its relative ranges decides.

    Args:
        channel_ranges: max|value| for each channel (axis 1) over the calibration data, by value name.
        strength: 0 leaves everything, 1 makes all ranges equal; full strength ruins the weights of later layers
            (-9 dB measured), a half never lost.

    Source: Nagel et al., ICCV 2019, section 4.1, at half strength and over whole graphs.
    """

    name = "equalise_channels"
    equivalence: Equivalence = "exact"

    def __init__(self, channel_ranges: Mapping[str, Array], strength: float = 0.5) -> None:
        self._channel_ranges = channel_ranges
        self._strength = strength

    def apply(self, model: ir.Model) -> RewriteResult:
        """Rescale in place; the details name each rescaled layer with the spread of its output scales."""
        channels = _Channels(model.graph)
        scales = channels.scales(self._channel_ranges, self._strength)
        details = []
        for node in list(model.graph):
            layer = AffineLayer.read(node)
            source = node.inputs[0] if layer is not None else None
            if layer is None or source not in scales or node.outputs[0] not in scales:
                continue
            incoming, outgoing = scales[source], scales[node.outputs[0]]
            if (incoming == 1.0).all() and (outgoing == 1.0).all():
                continue
            layer.scale_inputs(1.0 / incoming)
            layer.scale_outputs(outgoing)
            layer.write()
            details.append(f"{node.name}: output scales {outgoing.min():.3g} to {outgoing.max():.3g}")
        return RewriteResult(len(details), tuple(details))


class _Channels:
    """Which channels of which values must have one scale, over a whole graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._members: dict[ir.Value, Array] = {}
        self._tied = _DisjointSets[int]()
        self._quantisers = _DisjointSets[ir.Value]()
        self._fixed: set[int] = set()
        count = 0
        for value in [*graph.inputs, *(output for node in graph for output in node.outputs)]:
            if value.shape is not None and value.shape.rank() > 1 and isinstance(value.shape[1], int):
                self._members[value] = np.arange(count, count + value.shape[1])
                count += value.shape[1]
        for node in graph:
            if not self._tie(node):
                self._fix(*node.inputs, *node.outputs)
        for value in self._members:
            captured = any(use.node.graph is not graph for use in value.uses())
            if value.is_graph_input() or value.is_graph_output() or captured or bottleneck(value):
                self._fix(value)

    def scales(self, ranges: Mapping[str, Array], strength: float) -> dict[ir.Value, Array]:
        """One scale for each channel of every value."""
        measured = {value: np.asarray(ranges[str(value.name)]) for value in self._members if str(value.name) in ranges}
        largest: dict[ir.Value, float] = defaultdict(float)
        for value, peaks in measured.items():
            quantiser = self._quantisers.find(value)
            largest[quantiser] = max(largest[quantiser], float(peaks.max()))
        # tied channels -> quantiser that sees them -> their largest range relative to that quantiser's
        relative: dict[int, dict[ir.Value, float]] = defaultdict(dict)
        for value, peaks in measured.items():
            quantiser = self._quantisers.find(value)
            if _is_fused(value) or largest[quantiser] == 0.0:
                continue
            for member, peak in zip(self._members[value].tolist(), peaks / largest[quantiser], strict=True):
                seen = relative[self._tied.find(member)]
                seen[quantiser] = max(seen.get(quantiser, _MIN_RELATIVE_RANGE), float(peak))
        fixed = {self._tied.find(member) for member in self._fixed}
        scale = {
            channel: float(np.exp(-strength * np.mean(np.log(list(seen.values())))))
            for channel, seen in relative.items()
            if channel not in fixed
        }
        return {
            value: np.array([scale.get(self._tied.find(member), 1.0) for member in members.tolist()])
            for value, members in self._members.items()
        }

    def _tie(self, node: ir.Node) -> bool:
        """Tie the channels that `node` hands on; False when it is unknown what `node` does to a scale."""
        gate = gate_of(node)
        source = gate[0] if gate is not None else next(iter(node.inputs), None)
        target = node.outputs[0]
        if source is None or source not in self._members or target not in self._members:
            return False
        if AffineLayer.read(node) is not None:
            return True
        if node.op_type == "Concat":
            return self._tie_concatenated(node)
        before, after = self._members[source], self._members[target]
        if node.op_type == "DepthToSpace":
            crd = node.attributes.get_string("mode", "DCR") == "CRD"
            after = np.repeat(after, len(before) // len(after)) if crd else np.resize(after, len(before))
        elif node.op_type == "SpaceToDepth":
            before = np.resize(before, len(after))
        elif node.op_type in _HANDS_ON:
            if len(before) != len(after) or any(_is_computed(value) for value in node.inputs[1:]):
                return False
        elif gate is None:
            return False
        if node.op_type in _SAME_QUANTISER:
            self._quantisers.join(source, target)
        self._join(before, after)
        return True

    def _tie_concatenated(self, node: ir.Node) -> bool:
        parts = [value for value in node.inputs if value is not None and value in self._members]
        target = node.outputs[0]
        if len(parts) != len(node.inputs) or target.shape is None:
            return False
        if node.attributes.get_int("axis", 0) not in (1, 1 - target.shape.rank()):
            return False
        self._join(np.concatenate([self._members[part] for part in parts]), self._members[target])
        for part in parts:
            self._quantisers.join(part, target)
        return True

    def _join(self, first: Array, second: Array) -> None:
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            self._tied.join(one, other)

    def _fix(self, *values: ir.Value | None) -> None:
        for value in values:
            if value is not None and value in self._members:
                self._fixed.update(self._members[value].tolist())


class _DisjointSets(Generic[T]):
    """Union-find; an element that was never joined is a set of its own."""

    def __init__(self) -> None:
        self._parents: dict[T, T] = {}

    def find(self, element: T) -> T:
        """The set's representative."""
        parent = self._parents.get(element, element)
        if parent == element:
            return element
        self._parents[element] = representative = self.find(parent)
        return representative

    def join(self, one: T, other: T) -> None:
        """Make the sets of both elements one."""
        self._parents[self.find(one)] = self.find(other)


def _is_computed(value: ir.Value | None) -> bool:
    return value is not None and constant_value(value) is None


def _is_fused(value: ir.Value) -> bool:
    """Whether a layer and the Relu behind it run as one kernel, so that the value between is never quantised."""
    producer, reader = value.producer(), only_reader(value)
    return producer is not None and producer.op_type in _FUSES_RELU and reader is not None and reader.op_type == "Relu"
