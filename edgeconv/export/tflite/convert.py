"""ONNX to TFLite: the calls that the rest of the package makes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgeconv.errors import ExportError
from edgeconv.export.tflite.lower import lower
from edgeconv.export.tflite.tensors import Program
from edgeconv.export.tflite.writer import count_transposes, operator_counts, write
from edgeconv.manifest import TensorSpec

__all__ = ["TFLiteResult", "check_supported", "to_tflite"]

# Axes became inputs and Softmax got its present meaning with it.
_OLDEST_OPSET = 13


@dataclasses.dataclass(frozen=True)
class TFLiteResult:
    """A TFLite file and what is in it.

    Attributes:
        data: the file.
        inputs: one for each input port, in the order of the graph; rank-4 tensors are NHWC.
        outputs: the same for the output ports.
        operators: how often each operator occurs, by name.
        transposes: how many of them are TRANSPOSE.
    """

    data: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: dict[str, int]
    transposes: int


def check_supported(model: ir.Model) -> None:
    """Raise unless every node of `model` (float or Q/DQ, static shapes) can be lowered to TFLite.

    Nothing is written: the operators are planned and the plan is thrown away.

    Raises:
        UnsupportedOperatorError: names every node that cannot be lowered: its operator, its module path, why, and what
            to do.
        ExportError: a shape is unknown, or the opset is older than 13.
    """
    lower(_prepared(model))


def to_tflite(model: ir.Model | Path | str) -> TFLiteResult:
    """Lower an ONNX model of static shapes to TFLite, NHWC throughout.

    A float graph gives a float32 file.  In a Q/DQ graph every operator between DequantizeLinear and QuantizeLinear for
    which TFLite has an int8 kernel is lowered to it with the scales, zero points, int8 weights and int32 biases of the
    graph as they are; the rest stays float32 between DEQUANTIZE and QUANTIZE.  An input or output that is quantised in
    the graph is int8 in the file.  uint8 graphs are read as their int8 twins.

    The same model gives the same bytes.

    Example:
        >>> result = to_tflite("model.int8.onnx")
        >>> Path("model.int8.tflite").write_bytes(result.data)

    Raises:
        UnsupportedOperatorError: as `check_supported`, before anything is written.
        ExportError: a shape is unknown, or the opset is older than 13.
    """
    program = lower(_prepared(ir.load(model) if isinstance(model, Path | str) else model))
    data = write(program)
    return TFLiteResult(
        data,
        _specs(program, program.inputs),
        _specs(program, program.outputs),
        operator_counts(data),
        count_transposes(data),
    )


def _specs(program: Program, ports: dict[str, int]) -> tuple[TensorSpec, ...]:
    specs = []
    for name, index in ports.items():
        tensor, layout = program.tensors[index], "NHWC" if len(program.tensors[index].shape) == 4 else "as-is"
        scale, zero_point = (
            (None, None) if tensor.quantiser is None else (tensor.quantiser.scale, tensor.quantiser.zero_point)
        )
        specs.append(TensorSpec(name, name, list(tensor.shape), layout, tensor.dtype, scale, zero_point))
    return tuple(specs)


def _prepared(model: ir.Model) -> ir.Model:
    """`model`, or a copy with the shapes inferred that are missing."""
    opset = model.opset_imports.get("", 0)
    if opset < _OLDEST_OPSET:
        raise ExportError(
            f"The ONNX graph is of opset {opset}; the TFLite lowering reads opset {_OLDEST_OPSET} and later.",
            "Convert it with onnx.version_converter, or export it again.",
        )
    if all(value.shape is not None for node in model.graph for value in node.outputs):
        return model
    copy = model.clone()
    ShapeInferencePass(strict_mode=False)(copy)
    return copy
