"""Float outputs: the quantiser behind what a network answers is taken out, for kernels that write float themselves."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.graph import constant_value, infer_shapes, only_reader, register_constant, replace_value, static_shape

__all__ = ["PRODUCTS", "free_outputs", "is_light", "quantise_outputs", "writes_free_output"]

PRODUCTS = ("Gemm", "MatMul")

_MARK = "float.output"
_WEIGHTED = ("Conv", "ConvTranspose", *PRODUCTS)


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A QuantizeLinear and the DequantizeLinear that alone reads it."""

    quantise: ir.Node
    dequantise: ir.Node

    @property
    def source(self) -> ir.Value:
        """What is quantised."""
        value = self.quantise.inputs[0]
        if value is None:
            raise ExportError(f"{self.quantise.name} quantises nothing.", "Check the graph with onnx.checker.")
        return value


def free_outputs(model: ir.Model, writes_float: Callable[[ir.Node], bool] = lambda node: True) -> bool:
    """Take out, in place, the Q/DQ pairs before the outputs, so that these are neither rounded nor clipped.

    From an output it goes back through operators without weights that read one tensor (a DepthToSpace, a Softmax) or
    lay several side by side (Concat), as long as none is larger than the output and nothing else reads it; from there
    on everything is in float. What is added up at the end stays quantised, each on a scale of its own.

    Args:
        model: a Q/DQ graph.
        writes_float: whether an operator can read integers and write float; where one would have to that cannot,
            nothing is changed.

    Returns:
        Whether something was changed.
    """
    if all(node.op_type != "DequantizeLinear" for node in model.graph):
        return False
    if any(output.shape is None for node in model.graph for output in node.outputs):
        infer_shapes(model)
    outputs = [value for value in model.graph.outputs if not value.uses()]
    pairs = [pair for value in outputs for pair in _tail(value.producer(), math.prod(static_shape(value)))]
    writers = [pair.source.producer() for pair in pairs]
    if any(writer is None or not writes_float(writer) for writer in writers):
        return False
    for pair in pairs:
        _take_out(model.graph, pair)
    return bool(pairs)


def quantise_outputs(model: ir.Model) -> ir.Model:
    """The inverse, in place.

    Raises:
        ExportError: what is marked as a float output cannot be one.
    """
    for node in list(model.graph):
        if writes_free_output(node):
            _put_back(model.graph, node)
    return model


def writes_free_output(node: ir.Node) -> bool:
    """Whether `free_outputs` took out the quantiser behind `node`."""
    return _MARK in node.metadata_props


def is_light(node: ir.Node) -> bool:
    """Whether `node` has no weights and reads only dequantised tensors, none larger than what it writes.

    An activation is not: it is part of the operator before it.
    """
    data = [value for value in node.inputs if value is not None and constant_value(value) is None]
    makers = [value.producer() for value in data]
    if node.op_type in _WEIGHTED or any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
        return False
    size = math.prod(static_shape(node.outputs[0]))
    return all(math.prod(static_shape(value)) <= size for value in data)


def _tail(node: ir.Node | None, largest: int) -> Iterator[_Pair]:
    """The pairs at and before `node` that can go; `largest` is how many elements a tensor may have."""
    if node is None or node.op_type in _WEIGHTED:
        return
    if node.op_type == "DequantizeLinear":
        pair = _pair(node)
        if pair is not None and math.prod(static_shape(pair.source)) <= largest:
            yield pair
            yield from _tail(pair.source.producer(), largest)
        return
    data = [value for value in node.inputs if value is not None and constant_value(value) is None]
    for value in data if len(data) == 1 or node.op_type == "Concat" else ():
        if only_reader(value) is node:
            yield from _tail(value.producer(), largest)


def _pair(dequantise: ir.Node) -> _Pair | None:
    stored = dequantise.inputs[0]
    quantise = None if stored is None else stored.producer()
    if stored is None or quantise is None or quantise.op_type != "QuantizeLinear":
        return None
    source = quantise.inputs[0]
    if source is None or source.producer() is None or source.is_graph_output() or only_reader(source) is not quantise:
        return None
    return _Pair(quantise, dequantise) if only_reader(stored) is dequantise and not stored.is_graph_output() else None


def _take_out(graph: ir.Graph, pair: _Pair) -> None:
    source, output, writer = pair.source, pair.dequantise.outputs[0], pair.source.producer()
    scale, zero_point = (constant_value(value) for value in pair.quantise.inputs[1:3])
    if writer is None or scale is None or zero_point is None or scale.ndim:
        raise ExportError(f"{pair.quantise.name} has no constant scale and zero point of its whole tensor.")
    writer.metadata_props[_MARK] = json.dumps(
        {
            "tensor": source.name,
            "stored": pair.quantise.outputs[0].name,
            "nodes": [pair.quantise.name, pair.dequantise.name],
            "scale": float(scale),
            "zero_point": int(zero_point),
            "dtype": str(zero_point.dtype),
        }
    )
    replace_value(graph, output, source)
    constants = pair.quantise.inputs[1:3]
    graph.remove([pair.dequantise, pair.quantise], safe=True)
    for value in constants:
        if value is not None and value.is_initializer() and not value.uses():
            del graph.initializers[str(value.name)]


def _put_back(graph: ir.Graph, writer: ir.Node) -> None:
    value = writer.outputs[0]
    try:
        facts = json.loads(writer.metadata_props.pop(_MARK))
        dtype = np.dtype(facts["dtype"])
        constants = np.float32(facts["scale"]), np.array(facts["zero_point"], dtype)
        (quantiser, dequantiser), tensor, stored = facts["nodes"], str(facts["tensor"]), str(facts["stored"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ExportError(
            f"{writer.name} is marked as a float output and is none: {error!r}.", "Export it again."
        ) from error
    scale, zero_point = (
        register_constant(graph, f"{stored}/{name}", np.asarray(constant))
        for name, constant in zip(("scale", "zero_point"), constants, strict=True)
    )
    kind = ir.TensorType(zero_point.dtype or ir.DataType.INT8)
    output = ir.Value(name=value.name, type=value.type, shape=value.shape)
    quantised = ir.Value(name=stored, type=kind, shape=value.shape)
    dequantise = ir.node("DequantizeLinear", [quantised, scale, zero_point], outputs=[output], name=dequantiser)
    replace_value(graph, value, output)
    quantise = ir.node("QuantizeLinear", [value, scale, zero_point], outputs=[quantised], name=quantiser)
    value.name = tensor
    graph.insert_after(writer, [quantise, dequantise])
