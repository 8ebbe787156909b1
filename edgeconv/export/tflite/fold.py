"""Values of the constant parts of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.runtimes.onnxruntime import import_onnxruntime

__all__ = ["constant_array", "fold_constants"]


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


def fold_constants(nodes: Iterable[ir.Node], opsets: Mapping[str, int]) -> dict[ir.Value, npt.NDArray[Any]]:
    """Evaluate the nodes that depend on constants only.

    ONNX Runtime computes them, so that an expression left in the graph (a gate map as a product of a row and a column
    map, say) has here the value it has there.  Dequantised constants are evaluated only where such an expression reads
    them: the lowering takes their integers as they are.
    """
    sources: set[ir.Value] = set()
    dequantised: dict[ir.Value, ir.Node] = {}
    folded: list[ir.Node] = []
    for node in nodes:
        if node.op_type == "Constant":
            continue
        inputs = [value for value in node.inputs if value is not None]
        known = [value in sources or constant_array(value) is not None for value in inputs]
        if not inputs or not all(known):
            continue
        sources.update(node.outputs)
        if node.op_type == "DequantizeLinear":
            dequantised[node.outputs[0]] = node
        else:
            folded.append(node)
    return _evaluate(folded, dequantised, opsets) if folded else {}


def _evaluate(
    folded: list[ir.Node], dequantised: dict[ir.Value, ir.Node], opsets: Mapping[str, int]
) -> dict[ir.Value, npt.NDArray[Any]]:
    import onnx

    ort = import_onnxruntime()
    inner = set(folded)
    pending, nodes, initializers = list(folded), dict.fromkeys(folded), {}
    while pending:
        for value in pending.pop().inputs:
            if value is None:
                continue
            array = constant_array(value)
            if array is not None:
                initializers[value.name] = onnx.numpy_helper.from_array(array, value.name)
            elif value in dequantised and dequantised[value] not in nodes:
                nodes[dequantised[value]] = None
                pending.append(dequantised[value])
    wanted = [
        value
        for node in folded
        for value in node.outputs
        if value.is_graph_output() or any(use.node not in inner for use in value.uses())
    ]
    graph = onnx.helper.make_graph(
        [ir.serde.serialize_node(node) for node in sorted(nodes, key=lambda node: node in inner)],
        "constants",
        [],
        [onnx.ValueInfoProto(name=value.name) for value in wanted],
        list(initializers.values()),
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    )
    model.ir_version = 10
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(None, {}), strict=True))
