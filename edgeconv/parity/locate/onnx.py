"""ONNX files laid open: inner tensors become outputs, and inputs for their readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from edgeconv.export.jobs import has_float_outputs
from edgeconv.export.onnxruntime import read_graph
from edgeconv.graph import save_graph
from edgeconv.manifest import Artifact, TensorSpec
from edgeconv.parity.locate.layers import Layer, graph_layers
from edgeconv.parity.locate.variant import FED, Variant

__all__ = ["open_file", "open_graph"]


def open_file(source: Path, artifact: Artifact, layers: Sequence[Layer], loose: bool, to: Path) -> Variant:
    """See `Opener`."""
    graph = read_graph(source, float_outputs=has_float_outputs(artifact.reference))
    return open_graph(graph, artifact, layers, loose, to)


def open_graph(model: ir.Model, artifact: Artifact, layers: Sequence[Layer], loose: bool, to: Path) -> Variant:
    """The same for a graph in memory, which is changed."""
    graph = model.graph
    own = {layer.name: layer for layer in graph_layers(model)}
    values = {str(output.name): output for node in graph for output in node.outputs}
    inputs, outputs, opened = list(artifact.inputs), [], []
    for layer in layers:
        if layer.name not in own or own[layer.name].shape != layer.shape:
            continue
        mine = own[layer.name]
        value = values[mine.tensor]
        opened.append(layer.name)
        outputs.append(_spec(mine, mine.tensor))
        if loose and value.uses():
            fed = ir.Value(name=f"{mine.tensor}{FED}", shape=value.shape, type=value.type)
            value.replace_all_uses_with(fed)
            graph.inputs.append(fed)
            inputs.append(_spec(mine, str(fed.name)))
    graph.outputs.clear()
    graph.outputs.extend(values[spec.name] for spec in outputs)
    path = to / "variant.onnx"
    save_graph(model, path)
    return Variant(path, inputs, outputs, opened)


def _spec(layer: Layer, name: str) -> TensorSpec:
    layout = "NCHW" if len(layer.shape) == 4 else "as-is"
    if layer.grid is None:
        return TensorSpec(layer.name, name, list(layer.shape), layout, "float32")
    grid = layer.grid
    return TensorSpec(layer.name, name, list(layer.shape), layout, grid.dtype, grid.scale, grid.zero_point)
