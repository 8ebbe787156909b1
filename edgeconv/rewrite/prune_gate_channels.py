"""Remove the channels that a constant gate multiplies by zero everywhere."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.graph import only_reader
from edgeconv.rewrite._edit import AffineLayer, Array
from edgeconv.rewrite._pass import Equivalence, RewriteResult
from edgeconv.rewrite.normalise_gates import gate_of, gated_layer, replace_gate

__all__ = ["PruneGateChannels"]

# What passes a channel on to the same channel whatever the others hold, with no parameter for each channel.
_CHANNELWISE = frozenset(
    {
        "AveragePool",
        "Clip",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "MaxPool",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Tanh",
    }
)


class PruneGateChannels:
    """In `Conv -> channelwise operators -> * G -> Conv`, drop the channels where G is zero at every position.

    The first convolution loses rows, G maps, the second columns. Every value on the way must have one reader.

    Args:
        multiple: how many channels the kernels work on at a time; the number kept is rounded up to a multiple of it
            with dead channels, because ONNX Runtime is slower on a ragged number than on the unpruned one.
    """

    name = "prune_gate_channels"
    equivalence: Equivalence = "exact"

    def __init__(self, multiple: int = 8) -> None:
        self._multiple = multiple

    def apply(self, model: ir.Model) -> RewriteResult:
        """Prune in place; the details give the number of channels before and after."""
        details = []
        for node in list(model.graph):
            gate, reader = gate_of(node), gated_layer(node)
            producer = _producer(gate[0]) if gate is not None else None
            if gate is None or reader is None or producer is None or gate[1].shape[0] != producer.out_channels:
                continue
            kept = self._kept(gate[1])
            if len(kept) == producer.out_channels:
                continue
            details.append(f"{node.name}: {producer.out_channels} channels, {len(kept)} kept")
            producer.weight, producer.bias = producer.weight[kept], producer.bias[kept]
            producer.write()
            reader.weight = reader.weight[:, kept]
            reader.write()
            replace_gate(node, gate[0], gate[1][kept])
        return RewriteResult(len(details), tuple(details))

    def _kept(self, gate: Array) -> Array:
        live = np.abs(gate).max(axis=tuple(range(1, gate.ndim))) > 0
        rounded_up = -(-max(int(live.sum()), 1) // self._multiple) * self._multiple
        spare = np.flatnonzero(~live)[: max(rounded_up - int(live.sum()), 0)]
        return np.sort(np.concatenate([np.flatnonzero(live), spare]))


def _producer(value: ir.Value) -> AffineLayer | None:
    """The convolution without groups from which `value` comes through channelwise operators of one reader each."""
    node = value.producer()
    while node is not None and only_reader(node.outputs[0]) is not None:
        if node.op_type not in _CHANNELWISE:
            layer = AffineLayer.read(node) if node.op_type in ("Conv", "ConvTranspose") else None
            return layer if layer is not None and layer.group == 1 else None
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return None
