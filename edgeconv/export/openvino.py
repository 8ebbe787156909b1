"""OpenVINO IR from ONNX: fp32, fp16 weights, or int8 lowered from the Q/DQ graph with its ranges."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.jobs import ConversionJob, ConvertedFile
from edgeconv.graph import constant_value, load_graph, save_graph
from edgeconv.manifest import TensorSpec
from edgeconv.runtimes.openvino import import_openvino

__all__ = ["convert", "drop_requantisers"]

_MOVES_VALUES = {"Concat", "DepthToSpace", "Flatten", "MaxPool", "Reshape", "SpaceToDepth", "Squeeze", "Transpose"}


def convert(job: ConversionJob) -> ConvertedFile:
    """Write `model.<precision>.xml` and `.bin`.

    Raises:
        ExportError: OpenVINO refuses the model; its own words are passed on.
    """
    openvino = import_openvino()
    stem = f"model.{job.precision}"
    path = Path(job.directory) / f"{stem}.xml"
    graph = load_graph(Path(job.source))
    drop_requantisers(graph)
    with tempfile.TemporaryDirectory(prefix="edgeconv-openvino-") as temporary:
        source = Path(temporary) / "source.onnx"
        save_graph(graph, source)
        try:
            model = openvino.convert_model(source)
            openvino.save_model(model, path, compress_to_fp16=job.precision == "fp16")
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot convert the model: {str(error).strip().splitlines()[-1]}") from error
    return ConvertedFile(
        path.name,
        [_spec(port) for port in model.inputs],
        [_spec(port) for port in model.outputs],
        [f"{stem}.bin"],
        {"transposes": str(sum(node.get_type_name() == "Transpose" for node in model.get_ops()))},
    )


def drop_requantisers(model: ir.Model) -> int:
    """Remove, in place, each Q/DQ pair behind an operator that only moves values which are on its grid already.

    It is exact. OpenVINO would otherwise join the quantisers around a Concat into one behind it, so that the
    convolutions in front of it write float and every branch is quantised again. Returns how many pairs went.
    """
    dropped = 0
    for node in list(model.graph):
        if node.op_type not in _MOVES_VALUES or len(node.outputs) != 1:
            continue
        readers = node.outputs[0].consumers()
        if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or node.outputs[0].is_graph_output():
            continue
        (quantise,) = readers
        sources = [value.producer() for value in node.inputs if value is not None and constant_value(value) is None]
        dequantisers = quantise.outputs[0].consumers()
        around = [*sources, *dequantisers]
        if any(n is None or n.op_type != "DequantizeLinear" or _grid(n) != _grid(quantise) for n in around) or any(
            n.outputs[0].is_graph_output() for n in dequantisers
        ):
            continue
        for dequantise in dequantisers:
            ir.convenience.replace_all_uses_with(dequantise.outputs[0], node.outputs[0])
        model.graph.remove([*dequantisers, quantise], safe=True)
        dropped += 1
    return dropped


def _grid(node: ir.Node) -> list[bytes]:
    constants = (constant_value(value) for value in node.inputs[1:])
    return [constant.tobytes() for constant in constants if constant is not None]


def _spec(port: Any) -> TensorSpec:
    shape = [int(d) for d in port.get_shape()]
    name = port.get_any_name()
    return TensorSpec(name, name, shape, "NCHW" if len(shape) == 4 else "as-is", "float32")
