"""Choose the gauge between two convolutions with nothing between them, so that every channel fills its range."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.graph import only_reader
from edgeconv.rewrite._edit import AffineLayer, Array
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["EqualiseBottlenecks", "bottleneck", "filled_ranges"]

_MIN_RELATIVE_RANGE = 1e-3  # keeps the quantised bias of a channel that is almost silent below 2**30


class EqualiseBottlenecks:
    """In `Conv -> Conv` scale the tensor z between them by D = 1 / max|z_c| for each channel, and undo it behind.

    One scale quantises all channels of z, and for any invertible D (A D^-1)(D B) = A B. A channel whose range is below
    1e-3 of the largest counts as 1e-3.

    Args:
        channel_ranges: max|value| for each channel (axis 1) over the calibration data, by value name.
    """

    name = "equalise_bottlenecks"
    equivalence: Equivalence = "exact"

    def __init__(self, channel_ranges: Mapping[str, Array]) -> None:
        self._channel_ranges = channel_ranges

    def apply(self, model: ir.Model) -> RewriteResult:
        """Rescale in place; the details give each bottleneck's spread of ranges."""
        details = []
        for node in list(model.graph):
            pair = bottleneck(node.outputs[0]) if node.outputs else None
            ranges = self._channel_ranges.get(str(node.outputs[0].name)) if pair is not None else None
            if pair is None or ranges is None or not np.max(ranges) > 0:
                continue
            first, second = pair
            peaks = filled_ranges(ranges)
            first.scale_outputs(1.0 / peaks)
            second.scale_inputs(peaks)
            first.write()
            second.write()
            details.append(f"{node.name}: channel ranges {peaks.min():.3g} to {peaks.max():.3g}, now 1")
        return RewriteResult(len(details), tuple(details))


def filled_ranges(ranges: Array) -> Array:
    """What each channel is divided by, for its largest magnitudes `ranges`, of which one at least is not zero."""
    filled: Array = np.maximum(np.asarray(ranges, np.float64), _MIN_RELATIVE_RANGE * np.max(ranges))
    return filled


def bottleneck(value: ir.Value) -> tuple[AffineLayer, AffineLayer] | None:
    """The two convolutions that write and alone read `value`; None when it is no such tensor."""
    producer, reader = value.producer(), only_reader(value)
    if producer is None or reader is None or producer.op_type != "Conv" or reader.op_type != "Conv":
        return None
    first, second = AffineLayer.read(producer), AffineLayer.read(reader)
    return (first, second) if first is not None and second is not None else None
