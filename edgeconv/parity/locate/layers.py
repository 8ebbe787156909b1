"""The layers of an ONNX graph: what can be compared between the reference and a runtime, tensor by tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array
from edgeconv.export.quantize.units import operator_units
from edgeconv.export.reference import ReferenceRunner
from edgeconv.graph import constant_value, infer_shapes, module_path, static_shape
from edgeconv.manifest import Port

__all__ = ["Grid", "Layer", "StepReference", "graph_layers", "inputs_of"]


@dataclasses.dataclass(frozen=True)
class Grid:
    """The quantiser of a stored tensor: real value = (integer - zero point) * scale."""

    scale: float
    zero_point: int
    dtype: str

    def real(self, integers: Array) -> Array:
        """The real values of stored integers."""
        return np.asarray((integers.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale))


@dataclasses.dataclass(frozen=True)
class Layer:
    """One operator with its fused activation, by what it writes.

    `name` is the name of the float tensor it stands for, the same in the float and in the Q/DQ graph; `tensor` is the
    tensor of this graph that is stored (integers behind a QuantizeLinear); `aliases` are the names under which a
    runtime may keep it, the likeliest first; `inputs` are the stored tensors that it reads.
    """

    name: str
    operator: str
    module: str
    tensor: str
    aliases: tuple[str, ...]
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    grid: Grid | None

    @property
    def port(self) -> Port:
        """How its values are handed over: in float, as ONNX has them."""
        return Port(self.name, list(self.shape), "float32", "NCHW" if len(self.shape) == 4 else "as-is")


def graph_layers(model: ir.Model) -> list[Layer]:
    """The layers of a float or Q/DQ graph, in graph order; constants and integer shapes are none.

    Shapes that the file does not have are inferred, in place.

    Raises:
        ExportError: a shape is not static.
    """
    if any(output.shape is None for node in model.graph for output in node.outputs):
        infer_shapes(model)
    quantised = any(node.op_type == "QuantizeLinear" for node in model.graph)
    return list(_quantised(model.graph) if quantised else _float(model.graph))


class StepReference:
    """A graph computed as it is written, with the value of every layer."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.layers = graph_layers(model)
        self._runner = ReferenceRunner(model, [layer.tensor for layer in self.layers])
        self._outputs = [str(value.name) for value in model.graph.outputs]

    def run(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs by port, and the real value of each layer by its name."""
        found = self._runner.run(feeds)
        values = {
            layer.name: layer.grid.real(found[layer.tensor]) if layer.grid else found[layer.tensor]
            for layer in self.layers
        }
        return {name: found[name] for name in self._outputs}, values


def _float(graph: ir.Graph) -> list[Layer]:
    layers, computed = [], {value for value in graph.inputs if not value.is_initializer()}
    for node in graph:
        sources = [value for value in node.inputs if value in computed]
        if not sources:
            continue
        for output in node.outputs:
            computed.add(output)
            if output.dtype == ir.DataType.FLOAT and (output.uses() or output.is_graph_output()):
                names = tuple(str(value.name) for value in sources)
                name = str(output.name)
                shape = static_shape(output)
                layers.append(Layer(name, node.op_type, module_path(node), name, (name,), names, shape, None))
    return layers


def _quantised(graph: ir.Graph) -> list[Layer]:
    layers = []
    for unit in operator_units(graph):
        last = unit.activation or unit.node
        for value, output in zip(last.outputs, unit.outputs, strict=False):
            readers = [reader.outputs[0] for reader in output.consumers() if reader.op_type == "DequantizeLinear"]
            writer = output.producer()
            stored = writer is not None and writer.op_type == "QuantizeLinear"
            port = next((str(v.name) for v in (output, *readers) if v.is_graph_output()), None)
            names = [str(v.name) for v in (*readers, value, output)] if stored else [str(output.name)]
            layers.append(
                Layer(
                    name=port or str(value.name),
                    operator=unit.node.op_type,
                    module=module_path(unit.node),
                    tensor=str(output.name),
                    aliases=tuple(dict.fromkeys(names)),
                    inputs=tuple(str(source.name) for source in unit.inputs),
                    shape=static_shape(output),
                    grid=_grid(writer) if stored and writer is not None else None,
                )
            )
    return layers


def _grid(node: ir.Node) -> Grid:
    scale, zero_point = (constant_value(value) for value in node.inputs[1:3])
    if scale is None or zero_point is None or scale.ndim:
        raise ExportError(f"{node.name} has no constant scale and zero point of its whole tensor.")
    return Grid(float(scale), int(zero_point), str(zero_point.dtype))


def inputs_of(layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """For each layer the names of the layers that it reads."""
    makers = {layer.tensor: layer.name for layer in layers}
    return {layer.name: tuple(makers[t] for t in layer.inputs if t in makers) for layer in layers}
