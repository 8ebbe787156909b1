"""The lowest version of each TFLite operator that means what the program says.

A runtime refuses a file with a version that it does not know: low versions keep old runtimes (tflite-runtime 2.14) in.
The rules are those of ``tensorflow/lite/tools/versioning/op_version.cc`` for the types that the lowering writes.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeconv.export.tflite.tensors import Operation, Tensor

__all__ = ["operator_version"]

_Rule = Callable[[Operation, "list[Tensor]"], int]

# Versions of float and int8 kernels where they are not 1 and 2.
_FLOAT = {"BROADCAST_TO": 2, "TRANSPOSE_CONV": 3}
_INT8 = {
    "BROADCAST_TO": 3,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "HARD_SWISH": 1,
    "LEAKY_RELU": 1,
    "PRELU": 1,
    "QUANTIZE": 1,
    "RESHAPE": 1,
    "TRANSPOSE_CONV": 3,
}

# Version that brought tensors of more than four dimensions.
_RANK_5 = {
    "DIV": 2,
    "MAXIMUM": 3,
    "MINIMUM": 3,
    "PAD": 4,
    "PADV2": 4,
    "SLICE": 5,
    "STRIDED_SLICE": 4,
    "SUB": 3,
    "TRANSPOSE": 4,
}


def operator_version(operation: Operation, inputs: list[Tensor], output: Tensor) -> int:
    """Version of `operation` for its inputs and its (first) output."""
    int8 = any(tensor.dtype == "int8" for tensor in inputs)
    version = _INT8.get(operation.code, 2) if int8 else _FLOAT.get(operation.code, 1)
    if max(len(tensor.shape) for tensor in inputs) > 4:
        version = max(version, _RANK_5.get(operation.code, 1))
    rule = _RULES.get(operation.code)
    return version if rule is None else max(version, rule(operation, [*inputs, output]))


def _grouped(operation: Operation, tensors: list[Tensor]) -> int:
    return 6 if tensors[0].shape[-1] != tensors[1].shape[-1] else 1


def _dilated(operation: Operation, tensors: list[Tensor]) -> int:
    return 2 if (operation.options.dilationHFactor, operation.options.dilationWFactor) != (1, 1) else 1


def _upscaling(operation: Operation, tensors: list[Tensor]) -> int:
    first, second, result = (tensor.quantiser for tensor in tensors)
    if first is None or second is None or result is None:
        return 1
    return 3 if first.scale * second.scale / result.scale >= 1 else 1


def _centred(operation: Operation, tensors: list[Tensor]) -> int:
    return 3 if operation.options.halfPixelCenters else 1


def _centred_or_aligned(operation: Operation, tensors: list[Tensor]) -> int:
    return 3 if operation.options.halfPixelCenters or operation.options.alignCorners else 1


def _rank_6(operation: Operation, tensors: list[Tensor]) -> int:
    return 6 if len(tensors[0].shape) > 5 else 1


_RULES: dict[str, _Rule] = {
    "CONV_2D": _grouped,
    "DEPTHWISE_CONV_2D": _dilated,
    "MUL": _upscaling,
    "RESIZE_BILINEAR": _centred,
    "RESIZE_NEAREST_NEIGHBOR": _centred_or_aligned,
    "TRANSPOSE": _rank_6,
}
