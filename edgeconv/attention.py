"""Scores that a Softmax reads and the masks that are laid over them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.graph import constant_value, only_reader

__all__ = ["feeds_softmax", "mask_operands"]

_MASKING = {"Add": (0, 1), "Where": (1, 2)}
_MOVING = ("Reshape", "Transpose", "Unsqueeze", "Squeeze")


def mask_operands(softmax: ir.Node) -> Iterator[tuple[ir.Node, int, npt.NDArray[np.float32]]]:
    """The float constants that are added to the scores, or taken instead of some: node, input's index, values.

    Found behind reshapes and transpositions too, as where windows are masked one by one.
    """
    values = [softmax.inputs[0]] if softmax.op_type == "Softmax" else []
    while values:
        node = value.producer() if (value := values.pop()) is not None else None
        if node is None:
            continue
        if node.op_type in _MOVING:
            values.append(node.inputs[0])
        for index in _MASKING.get(node.op_type, ()):
            array = constant_value(node.inputs[index])
            if array is None:
                values.append(node.inputs[index])
            elif array.dtype == np.float32:
                yield node, index, array


def feeds_softmax(node: ir.Node) -> bool:
    """Whether a Softmax, perhaps behind reshapes and transpositions, is all that reads what `node` computes."""
    reader = only_reader(node.outputs[0])
    while reader is not None and reader.op_type in _MOVING:
        reader = only_reader(reader.outputs[0])
    return reader is not None and reader.op_type == "Softmax"
