"""TFLite files laid open: inner tensors become outputs, and inputs for their readers, so that delegates still run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv.export.tflite.layout import default_order
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import Artifact, TensorSpec
from edgeconv.parity.locate.layers import Layer
from edgeconv.parity.locate.variant import FED, Variant

__all__ = ["open_file"]

_ALIGNMENT_SLACK = 1 << 16


def open_file(source: Path, artifact: Artifact, layers: Sequence[Layer], loose: bool, to: Path) -> Variant:
    """See `Opener`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    data = source.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    written = {index for operator in graph.operators for index in operator.outputs}
    names = {tensor.name.decode(): index for index, tensor in enumerate(graph.tensors) if index in written}
    shuffled = _shuffled(layers)
    inputs, outputs, opened = list(artifact.inputs), [], []
    ports = list(graph.inputs)
    found: list[int] = []
    for layer in layers:
        index = next((names[alias] for alias in (layer.name, *layer.aliases) if alias in names), None)
        if index is None or index in found or layer.name in shuffled:
            continue
        order = default_order(len(layer.shape))
        tensor = graph.tensors[index]
        if list(tensor.shape) != [layer.shape[axis] for axis in order]:
            continue
        found.append(index)
        opened.append(layer.name)
        outputs.append(_spec(layer, tensor, tensor.name.decode()))
        if loose:
            fed = copy.copy(tensor)
            fed.name = tensor.name + FED.encode()
            graph.tensors.append(fed)
            for operator in graph.operators:
                operator.inputs = [len(graph.tensors) - 1 if i == index else i for i in operator.inputs]
            if _is_read(graph, len(graph.tensors) - 1):
                ports.append(len(graph.tensors) - 1)
                inputs.append(_spec(layer, tensor, fed.name.decode()))
    graph.inputs, graph.outputs = ports, found
    model.signatureDefs = None  # they describe the inputs and outputs of before
    builder = flatbuffers.Builder(len(data) + _ALIGNMENT_SLACK)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = to / "variant.tflite"
    atomic_write_bytes(path, bytes(builder.Output()))
    return Variant(path, inputs, outputs, opened)


def _is_read(graph: Any, index: int) -> bool:
    return any(index in operator.inputs for operator in graph.operators)


def _shuffled(layers: Sequence[Layer]) -> set[str]:
    """Convolutions that only a pixel shuffle reads: the lowering writes their channels in the order of TFLite's."""
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        for tensor in layer.inputs:
            readers.setdefault(tensor, []).append(layer)
    only = {layer.name: readers.get(layer.tensor, []) for layer in layers if layer.operator == "Conv"}
    return {name for name, found in only.items() if [reader.operator for reader in found] == ["DepthToSpace"]}


def _spec(layer: Layer, tensor: Any, name: str) -> TensorSpec:
    from ai_edge_litert import schema_py_generated as schema

    types = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8", schema.TensorType.UINT8: "uint8"}
    shape, layout = [int(size) for size in tensor.shape], "NHWC" if len(layer.shape) == 4 else "as-is"
    dtype = types.get(tensor.type, "float32")
    if dtype == "float32":
        return TensorSpec(layer.name, name, shape, layout, dtype)
    quantiser = tensor.quantization
    return TensorSpec(layer.name, name, shape, layout, dtype, float(quantiser.scale[0]), int(quantiser.zeroPoint[0]))
