"""Values of the constant parts of an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.runtimes.onnxruntime import import_onnxruntime

__all__ = ["constant_array", "fold_constants"]

# One that every ONNX Runtime of ours reads; constants need nothing newer.
_IR_VERSION = 10

_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def constant_array(value: ir.Value) -> npt.NDArray[Any] | None:
    """The array of an initializer or of a Constant node's output, else None."""
    if value.is_initializer() and value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is None or node.op_type != "Constant" or node.domain:
        return None
    attribute = next(iter(node.attributes.values()))
    if attribute.type == ir.AttributeType.TENSOR:
        return np.asarray(attribute.as_tensor().numpy())
    dtype = np.int64 if attribute.type in (ir.AttributeType.INT, ir.AttributeType.INTS) else np.float32
    return np.asarray(attribute.value, dtype)


def fold_constants(nodes: Sequence[ir.Node], opsets: Mapping[str, int]) -> dict[ir.Value, npt.NDArray[Any]]:
    """Evaluate the nodes, given in order of execution, that depend on constants only.

    ONNX Runtime computes them, so that an expression left in the graph (a gate map as a product of a row and a column
    map, say) has here the value it has there.  Dequantised constants are evaluated only where such an expression reads
    them: the lowering takes their integers as they are.  A Resize that enlarges a constant stays an operator, for who
    stored a small map wants a small file.
    """
    known: set[ir.Value] = set()
    constant_nodes: list[ir.Node] = []
    for node in nodes:
        inputs = [value for value in node.inputs if value is not None]
        if (
            inputs
            and _is_pure(node)
            and not _enlarges(node)
            and all(v in known or constant_array(v) is not None for v in inputs)
        ):
            known.update(node.outputs)
            constant_nodes.append(node)
    folded = {node for node in constant_nodes if node.op_type != "DequantizeLinear"}
    return _evaluate(constant_nodes, folded, opsets) if folded else {}


def _is_pure(node: ir.Node) -> bool:
    return not node.domain and not any(attribute.type in _GRAPHS for attribute in node.attributes.values())


def _enlarges(node: ir.Node) -> bool:
    if node.op_type != "Resize" or node.inputs[0] is None:
        return False
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if before is None or after is None or not (before.is_static() and after.is_static()):
        return False
    return math.prod(after.numpy()) > math.prod(before.numpy())


def _evaluate(
    constant_nodes: list[ir.Node], folded: set[ir.Node], opsets: Mapping[str, int]
) -> dict[ir.Value, npt.NDArray[Any]]:
    import onnx

    needed, initializers = set(folded), {}
    for node in reversed(constant_nodes):
        for value in node.inputs if node in needed else ():
            array = constant_array(value) if value is not None else None
            if value is not None and array is not None:
                initializers[value.name] = onnx.numpy_helper.from_array(array, value.name)
            elif value is not None:
                needed.update(producer for producer in [value.producer()] if producer is not None)
    wanted = [
        value
        for node in constant_nodes
        for value in node.outputs
        if node in folded and (value.is_graph_output() or any(use.node not in folded for use in value.uses()))
    ]
    graph = onnx.helper.make_graph(
        [ir.serde.serialize_node(node) for node in constant_nodes if node in needed],
        "constants",
        [],
        [onnx.ValueInfoProto(name=value.name) for value in wanted],
        list(initializers.values()),
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    )
    model.ir_version = _IR_VERSION
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(None, {}), strict=True))
