"""LiteRT's artefact: the ONNX graph, float or Q/DQ, written as a TFLite file."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgeconv.export.float_outputs import PRODUCTS, free_outputs, is_light
from edgeconv.export.jobs import ConversionJob, ConvertedFile
from edgeconv.files import atomic_write_bytes
from edgeconv.graph import constant_value

__all__ = ["convert"]

_FLOAT_SHARE = 0.01


def convert(job: ConversionJob) -> ConvertedFile:
    """Write `model.<precision>.tflite`: NHWC, int8 input and output when the graph is a Q/DQ one.

    No int8 kernel of LiteRT writes float. Where it costs next to nothing, the last operator is computed in float: a
    residual network's addition, and a classifier's product, for which 256 steps make equals of different answers.
    """
    from edgeconv.export.tflite import to_tflite

    model = ir.load(job.source)
    elements = sum(value.const_value.size for value in model.graph.initializers.values() if value.const_value)
    freed = job.float_outputs and free_outputs(model, lambda node: _is_sum(node) or _is_small_product(node, elements))
    result = to_tflite(model)
    path = Path(job.directory) / f"model.{job.precision}.tflite"
    atomic_write_bytes(path, result.data)
    facts = {"transposes": str(result.transposes)}
    return ConvertedFile(path.name, list(result.inputs), list(result.outputs), facts=facts, float_outputs=freed)


def _is_sum(node: ir.Node) -> bool:
    """Whether it adds up, or clips, quantised tensors that are no larger than the result."""
    return node.op_type in ("Add", "Clip", "Sub") and is_light(node)


def _is_small_product(node: ir.Node, elements: int) -> bool:
    """Whether it has at most a hundredth of the network's constants, whose bytes become four times as many."""
    makers = [value.producer() for value in node.inputs[1:] if value is not None]
    weights = [constant_value(maker.inputs[0]) for maker in makers if maker is not None]
    size = sum(array.size for array in weights if array is not None)
    return node.op_type in PRODUCTS and 0 < size <= elements * _FLOAT_SHARE
