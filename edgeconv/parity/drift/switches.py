"""A Q/DQ graph in which every rounding has a switch: off, it computes what the fp32 graph does.

One session answers for any set of layers that compute in int8 while the others do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array
from edgeconv.export.quantize.operators import OPERATORS, Output
from edgeconv.export.quantize.units import Unit, operator_units
from edgeconv.export.reference import ReferenceRunner
from edgeconv.graph import constant_value, describe
from edgeconv.parity.locate.layers import Layer, graph_layers

__all__ = ["SwitchedGraph", "SwitchedLayer"]


@dataclasses.dataclass(frozen=True)
class SwitchedLayer:
    """An operator with its fused activation: the names of its switches, "" where there is nothing to round.

    `weights` rounds everything constant that it reads (weights, bias, a gate's map) to what the int8 graph stores,
    `activations` what it writes. `tensor` is what its readers get; `before` that before it is rounded, of an operator
    that has its inputs' quantiser, else "".
    """

    layer: Layer
    node: str
    weights: str
    activations: str
    tensor: str
    before: str

    @property
    def switches(self) -> tuple[str, ...]:
        """Those that it has."""
        return tuple(name for name in (self.weights, self.activations) if name)


class SwitchedGraph:
    """`qdq` with switches between its values and those of `fp32`, the graph that it was made from.

    Raises:
        ExportError: a node of `qdq` is not in `fp32`, or has constants of another shape there.
    """

    def __init__(self, fp32: ir.Model, qdq: ir.Model) -> None:
        layers = {layer.tensor: layer for layer in graph_layers(qdq)}
        model = qdq.clone()
        self.outputs = [str(value.name) for value in model.graph.outputs]
        self._editor = _Editor(model.graph)
        originals = {str(node.name): node for node in fp32.graph}
        self.layers: list[SwitchedLayer] = []
        for unit in operator_units(model.graph):
            weights = self._switch_constants(unit, originals)
            for output in unit.outputs:
                layer = layers[str(output.name)]
                activations, before, tensor = self._switch_output(layer.name, output)
                rule = OPERATORS.get(unit.node.op_type)
                before = before if rule is not None and rule.output is Output.SHARED else ""
                self.layers.append(SwitchedLayer(layer, str(unit.node.name), weights, activations, tensor, before))
                weights = ""  # of several outputs the first carries them
        taps = [name for entry in self.layers for name in (entry.tensor, entry.before) if name]
        self._runner = ReferenceRunner(model, taps)

    def run(self, feeds: Mapping[str, Array], on: Collection[str], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` with the switches `on` and all others off."""
        flags = {name: np.array(name in on) for name in self._editor.switches}
        return self._runner.run({**feeds, **flags}, tensors)

    def _switch_constants(self, unit: Unit, originals: Mapping[str, ir.Node]) -> str:
        node, name = unit.node, f"{unit.node.name}#weights"
        found = False
        for index, value in enumerate(node.inputs):
            reader = None if value is None else value.producer()
            if value is None or reader is None or reader.op_type != "DequantizeLinear":
                continue
            if constant_value(reader.inputs[0]) is None:
                continue
            exact = _original(originals, node, index, value)
            node.replace_input_with(index, self._editor.switch(name, value, self._editor.constant(exact), reader))
            found = True
        return name if found else ""

    def _switch_output(self, layer: str, output: ir.Value) -> tuple[str, str, str]:
        """The switch, and the tensor before and behind it."""
        writer = output.producer()
        if writer is None or writer.op_type != "QuantizeLinear" or writer.inputs[0] is None:
            return "", "", str(output.name)
        name, before = f"{layer}#activations", str(writer.inputs[0].name)
        tensor = before
        for reader in output.consumers():
            if reader.op_type == "DequantizeLinear":
                tensor = str(self._editor.switch_readers(name, reader.outputs[0], writer.inputs[0], reader).name)
        return name, before, tensor


class _Editor:
    """Adds switches to a graph: each is a boolean input that several nodes can read."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._count = 0
        self.switches: dict[str, ir.Value] = {}

    def constant(self, array: Array) -> ir.Value:
        """A new initialiser."""
        self._count += 1
        name = f"exact#{self._count}"
        tensor = ir.tensor(np.ascontiguousarray(array, np.float32).reshape(array.shape), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._graph.register_initializer(value)
        return value

    def switch(self, name: str, rounded: ir.Value, exact: ir.Value, after: ir.Node) -> ir.Value:
        """`rounded` while the switch `name` is on, else `exact`; computed behind the node `after`."""
        if name not in self.switches:
            flag = ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
            self.switches[name] = flag
            self._graph.inputs.append(flag)
        self._count += 1
        node = ir.node("Where", [self.switches[name], rounded, exact], name=f"switch#{self._count}")
        result = node.outputs[0]
        result.name, result.shape, result.type = f"switched#{self._count}", rounded.shape, exact.type
        self._graph.insert_after(after, node)
        return result

    def switch_readers(self, name: str, rounded: ir.Value, exact: ir.Value, after: ir.Node) -> ir.Value:
        """The same for everything that reads `rounded`, a graph output included."""
        uses, port = list(rounded.uses()), rounded.name
        result = self.switch(name, rounded, exact, after)
        for node, index in uses:
            node.replace_input_with(index, result)
        if rounded.is_graph_output():
            rounded.name, result.name = f"{port}#rounded", port
            self._graph.outputs[list(self._graph.outputs).index(rounded)] = result
        return result


def _original(originals: Mapping[str, ir.Node], node: ir.Node, index: int, value: ir.Value) -> Array:
    """What the fp32 graph has in the place of a constant; a bias that it lacks is zero."""
    original = originals.get(str(node.name))
    if original is None:
        raise ExportError(f"{describe(node)} of the int8 graph is not in the fp32 graph.")
    shape = None if value.shape is None else tuple(value.shape.numpy())
    array = constant_value(original.inputs[index]) if index < len(original.inputs) else None
    if array is None and index < 2:
        raise ExportError(
            f"{describe(node)} has a constant input {index} in the int8 graph and none in the fp32 graph."
        )
    array = np.zeros(shape or (), np.float32) if array is None else array
    if shape is not None and array.shape != shape:
        raise ExportError(f"{describe(node)} has constants {list(shape)} in int8 and {list(array.shape)} in fp32.")
    return array
