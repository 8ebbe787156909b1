"""TensorRT's artefact: an ONNX graph that `trtexec` builds an engine from on the device.

int8 is explicit Q/DQ as every TensorRT from 8 to 11 reads it (onnx-tensorrt, `QuantDequantLinearHelper`; TensorRT
documentation, "Explicit Quantization"):

- every zero point is 0 and every integer is int8: others are refused by the parser;
- weights are float behind their own Q/DQ: TensorRT 8 takes no integer weights;
- biases are float: ``DequantizeLinear`` of int32 is refused ("only activation types allowed as input");
- constant operands (gates) are float: a pointwise kernel reads them as they are;
- the opset is 17, the newest that TensorRT 8.5 reads; the ReduceMean of opset 18 would be read wrongly.

The values are those of the Q/DQ graph that it is lowered from. fp16 is a graph of fp16 tensors with float ports,
because TensorRT 11 has no ``--fp16``: there the graph's types decide.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array, open_session
from edgeconv.export.jobs import ConversionJob, ConvertedFile
from edgeconv.export.onnxruntime import tensor_specs
from edgeconv.export.requantisers import drop_requantisers
from edgeconv.graph import constant_value, describe, load_graph, save_graph, unique_name
from edgeconv.runtimes import get_runtime

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["check_explicit_quantisation", "convert", "lower_quantisers"]

OPSET = 17
_FP16_MAX = float(np.finfo(np.float16).max)
_HIDDEN = "edgeconv.hidden"
_PAD_AXES, _SPLIT_SIZES = 3, 1  # indices of inputs
_DEFECT = "This is a defect of the lowering; please report it."


def convert(job: ConversionJob) -> ConvertedFile:
    """Write `model.<precision>.tensorrt.onnx`.

    Raises:
        ExportError: the graph has zero points other than 0, an operator that opset 17 does not have, or a constant
            that fp16 cannot hold.
    """
    model = load_graph(Path(job.source))
    facts: dict[str, str] = {}
    if job.precision == "int8":
        drop_requantisers(model)
        lower_quantisers(model)
        check_explicit_quantisation(model)
        facts["activations"] = f"{job.activations}, {job.scheme}"
    proto = _older(ir.to_proto(model))
    if job.precision == "fp16":
        proto = _halved(proto)
    model = ir.from_proto(proto)
    facts["opset"] = str(model.graph.opset_imports[""])
    _load(model)
    path = Path(job.directory) / f"model.{job.precision}.tensorrt.onnx"
    save_graph(model, path)
    inputs, outputs = tensor_specs(model)
    return ConvertedFile(path.name, inputs, outputs, facts=facts)


def lower_quantisers(model: ir.Model) -> None:
    """Replace, in place, every dequantised constant: int8 weights by float ones behind Q/DQ, others by floats.

    Raises:
        ExportError: a constant without static integers, scale and zero point.
    """
    graph = model.graph
    taken = {str(value.name) for node in graph for value in node.outputs} | set(graph.initializers)
    names = {str(node.name) for node in graph}
    for node in list(graph):
        if node.op_type != "DequantizeLinear" or constant_value(node.inputs[0]) is None:
            continue
        integers, scale = (_constant(node, index) for index in (0, 1))
        output = node.outputs[0]
        value = _initializer(graph, unique_name(f"{output.name}_float", taken), _dequantised(node))
        if integers.dtype != np.int8 or scale.ndim == 0:
            ir.convenience.replace_all_uses_with(output, value)
            graph.remove(node, safe=True)
            continue
        quantise = ir.node(
            "QuantizeLinear",
            [value, node.inputs[1], node.inputs[2]],
            {"axis": node.attributes["axis"].as_int()},
            outputs=[
                ir.Value(
                    name=unique_name(f"{output.name}_q", taken),
                    type=ir.TensorType(ir.DataType.INT8),
                    shape=ir.Shape(integers.shape),
                )
            ],
            name=unique_name(f"{node.name}/quantise", names),
        )
        graph.insert_before(node, quantise)
        node.replace_input_with(0, quantise.outputs[0])
    for name, unused in list(graph.initializers.items()):
        if not unused.uses() and not unused.is_graph_output():
            del graph.initializers[name]


def check_explicit_quantisation(model: ir.Model) -> None:
    """Check that a Q/DQ graph is one that TensorRT's parser takes.

    Raises:
        ExportError: the first node that it would refuse, and why.
    """
    for node in model.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero_point = _constant(node, 1), _constant(node, 2)
        if zero_point.any():
            raise ExportError(
                f"TensorRT takes only zero points of 0; {describe(node)} has {np.unique(zero_point)[-1]}.",
                'Give the TensorRT target of the device profile quantisation = "symmetric".',
            )
        source = constant_value(node.inputs[0])
        if zero_point.dtype != np.int8:
            raise ExportError(f"{describe(node)} quantises to {zero_point.dtype}, TensorRT takes int8.", _DEFECT)
        if node.op_type == "DequantizeLinear" and source is not None:
            raise ExportError(f"{describe(node)} dequantises a constant, which TensorRT 8 refuses.", _DEFECT)
        if scale.shape != zero_point.shape or not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ExportError(f"{describe(node)} has no positive scale for each zero point.", _DEFECT)
        if scale.ndim and (node.op_type == "QuantizeLinear") and source is None:
            raise ExportError(f"{describe(node)} has one scale a channel; for activations that is refused.", _DEFECT)


def _dequantised(node: ir.Node) -> Array:
    """What a DequantizeLinear of a constant computes, in float32."""
    integers, scale, zero_point = (_constant(node, index) for index in range(3))
    if scale.ndim:
        shape = [1] * integers.ndim
        shape[node.attributes["axis"].as_int()] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    steps = integers.astype(np.int64) - zero_point.astype(np.int64)
    return np.asarray(steps.astype(np.float32) * scale, np.float32)


def _constant(node: ir.Node, index: int) -> Array:
    array = constant_value(node.inputs[index]) if len(node.inputs) > index else None
    if array is None:
        raise ExportError(f"Input {index} of {describe(node)} is not a constant.", _DEFECT)
    return array


def _initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _older(proto: ModelProto) -> ModelProto:
    """In opset 17; what its converter has no step for is hidden from it, and means the same there."""
    hidden = [node for node in proto.graph.node if _is_older(node)]
    proto.opset_import.add(domain=_HIDDEN, version=1)
    for node in hidden:
        node.domain = _HIDDEN
    try:
        older: ModelProto = onnx.version_converter.convert_version(proto, OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ExportError(f"The graph has no form in opset {OPSET}, which TensorRT 8.5 reads: {reason}") from error
    for node in older.graph.node:
        if node.domain == _HIDDEN:
            node.domain = ""
        elif node.op_type.startswith("Reduce"):  # the converter leaves what opset 18 added
            kept = [attribute for attribute in node.attribute if attribute.name != "noop_with_empty_axes"]
            del node.attribute[:]
            node.attribute.extend(kept)
    domains = [opset for opset in older.opset_import if opset.domain != _HIDDEN]
    del older.opset_import[:]
    older.opset_import.extend(domains)
    return older


def _is_older(node: NodeProto) -> bool:
    """Whether a Pad or a Split has nothing that opset 18 added to it: axes, and a number of parts instead of sizes."""
    given = {index for index, name in enumerate(node.input) if name}
    return (node.op_type == "Pad" and _PAD_AXES not in given) or (node.op_type == "Split" and _SPLIT_SIZES in given)


def _halved(proto: ModelProto) -> ModelProto:
    """All tensors but the ports in fp16."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and (np.abs(array[np.isfinite(array)]) > _FP16_MAX).any():
            raise ExportError(f"Constant {tensor.name!r} has values beyond {_FP16_MAX:.0f}, the largest of fp16.")
    halved: ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    return halved


def _load(model: ir.Model) -> None:
    """ONNX Runtime must take what TensorRT is to be given."""
    try:
        open_session(model, optimise=False)
    except get_runtime("onnxruntime").failures() as error:
        raise ExportError(f"ONNX Runtime refuses the graph for TensorRT: {error}", _DEFECT) from error
