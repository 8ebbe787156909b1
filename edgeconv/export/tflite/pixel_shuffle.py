"""Pixel shuffle (DepthToSpace in CRD order) without moving channels.

TFLite's DEPTH_TO_SPACE reads channels in DCR order, (dy, dx, c), and torch's PixelShuffle in CRD order, (c, dy, dx).
Where a convolution writes those channels and nothing else reads them, it can write them in DCR order at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgeconv.graph import only_reader

if TYPE_CHECKING:
    from edgeconv.export.tflite.graph import Step

__all__ = ["dcr_order", "find_shuffles"]


def dcr_order(channels: int, block: int) -> tuple[int, ...]:
    """The CRD channel that belongs at each place of the DCR order."""
    order = np.arange(channels).reshape(channels // block**2, block**2).T
    return tuple(order.ravel().tolist())


def find_shuffles(steps: Iterable[Step]) -> dict[ir.Node, ir.Node]:
    """DepthToSpace nodes in CRD order by the dense convolution that feeds them alone, through Q and DQ or directly."""
    found = {}
    for step in steps:
        if step.op_type != "Conv" or step.attributes.get("group", 1) != 1:
            continue
        reader = only_reader(step.outputs[0])
        if reader is not None and reader.op_type == "QuantizeLinear":
            reader = only_reader(reader.outputs[0])
            reader = only_reader(reader.outputs[0]) if reader is not None else None
        mode = reader.attributes.get("mode") if reader is not None and reader.op_type == "DepthToSpace" else None
        if reader is not None and mode is not None and mode.value == "CRD":
            found[reader] = step.node
    return found
