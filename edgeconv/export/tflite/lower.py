"""From an ONNX graph to a TFLite program: walks the operators, collects those that cannot be lowered."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from edgeconv.errors import ExportError, UnsupportedOperatorError
from edgeconv.export.tflite.emitter import Emitter, Operand
from edgeconv.export.tflite.graph import GraphView, Step, module_path, static_shape
from edgeconv.export.tflite.layout import Layout, Shape, default_order
from edgeconv.export.tflite.op import Op
from edgeconv.export.tflite.registry import Lowering, Refusal, lowerings
from edgeconv.export.tflite.tensors import Program, Quantiser, Tensor

__all__ = ["lower"]

_UNKNOWN = "TFLite has no operator for it that the lowering knows"
_ADVICE = "Replace the layer, or export for the other runtimes only."
_FIRST_ONLY = "Use its first output only."


def lower(model: ir.Model) -> Program:
    """The TFLite program of a float or Q/DQ ONNX graph of static shapes.

    Raises:
        UnsupportedOperatorError: some nodes cannot be lowered; it names all of them.
        ExportError: a shape is unknown.
    """
    view = GraphView(model, frozenset(name for name, lowering in lowerings().items() if lowering.fuses))
    return _Lowerer(view).run()


@dataclasses.dataclass(frozen=True)
class _Refused:
    step: Step
    reason: str
    advice: str

    def __str__(self) -> str:
        node = self.step.node
        module = module_path(node)
        where = f"node {node.name!r}" + (f" in module {module!r}" if module else "")
        operator = f"{node.domain}::{node.op_type}" if node.domain else self.step.op_type
        return f"{operator} ({where}): {self.reason}. {self.advice}"


class _Lowerer:
    def __init__(self, view: GraphView) -> None:
        self._view = view
        self._program = Program()
        self._emitter = Emitter(self._program)
        self._values: dict[ir.Value, Operand] = {}
        self._refused: list[_Refused] = []
        self._unknown: set[ir.Value] = set()

    def run(self) -> Program:
        for value in self._view.graph.inputs:
            if not value.is_initializer():
                self._add_input(value)
        for step in self._view.steps:
            self._emitter.scope = step.outputs[0].name or step.op_type
            try:
                self._lower(step)
            except Refusal as refusal:
                self._refused.append(_Refused(step, refusal.reason, refusal.advice))
                self._stand_in(step)
        if self._refused:
            count = f"{len(self._refused)} node{'s' if len(self._refused) > 1 else ''}"
            listed = "\n".join(f"  - {refused}" for refused in self._refused)
            raise UnsupportedOperatorError(f"{count} of this graph cannot be lowered to TFLite:\n{listed}")
        for value in self._view.graph.outputs:
            self._add_output(value)
        return self._program

    def _lower(self, step: Step) -> None:
        quantising = {"QuantizeLinear": self._quantise, "DequantizeLinear": self._dequantise}.get(step.op_type)
        lowering = None if step.node.domain else lowerings().get(step.op_type)
        if quantising is None and lowering is None:
            raise Refusal(_UNKNOWN, _ADVICE)
        if self._unknown.intersection(step.inputs):
            self._unknown.update(step.outputs)
        elif quantising is not None:
            quantising(step)
        elif lowering is not None:
            self._operator(step, lowering)

    def _operator(self, step: Step, lowering: Lowering) -> None:
        op = Op(self._view, step, self._emitter, self._values)
        used = [value for value in step.outputs if value.uses() or value.is_graph_output()]
        stored = {value: self._view.stored_quantiser(value) for value in used}
        inputs = range(op.arity)[lowering.data] if lowering.data is not None else ()
        if inputs and all(stored.values()) and all(op.input_quantiser(index) is not None for index in inputs):
            op.quantisers = tuple(stored.get(value, stored[used[0]]) for value in step.outputs)
            op.int8 = lowering.int8_if(op)
        if not op.int8:
            op.quantisers = tuple(None for _ in step.outputs)
        first_new = len(self._program.tensors)
        lowered = lowering.lower(op)
        results = (lowered,) if isinstance(lowered, Operand) else lowered
        for index in range(len(results), len(step.outputs)):
            if step.outputs[index] in used:
                raise Refusal(f"its output {index} is read, which TFLite's operator does not have", _FIRST_ONLY)
        for value, operand in zip(step.outputs, results, strict=False):
            if operand.tensor >= first_new:
                self._program.tensors[operand.tensor].name = value.name or step.op_type
            self._define(value, operand)

    def _define(self, value: ir.Value, operand: Operand) -> None:
        """Make `operand` what the readers of `value` get; an int8 one stands for what QuantizeLinear makes of it."""
        if self._emitter.quantiser(operand) is None:
            self._values[value] = operand
        else:
            self._values.update({reader.outputs[0]: operand for reader in value.consumers()})

    def _quantise(self, step: Step) -> None:
        output, source = step.outputs[0], step.inputs[0]
        if output in self._values or source is None:
            return
        quantiser = self._activation_quantiser(step)
        self._values[output] = self._emitter.requantise(self._values[source], quantiser)

    def _dequantise(self, step: Step) -> None:
        quantiser, source = self._activation_quantiser(step), step.inputs[0]
        if source not in self._values:
            raise Refusal("it reads integers that no QuantizeLinear made", "Quantise in the graph: inputs are float.")
        if quantiser != self._emitter.quantiser(self._values[source]):
            raise Refusal("its scale or zero point is not that of the QuantizeLinear", "Use one pair for both.")
        self._values[step.outputs[0]] = self._values[source]

    def _activation_quantiser(self, step: Step) -> Quantiser:
        quantiser = self._view.quantiser(step.node)
        if quantiser is None or not quantiser.per_tensor:
            raise Refusal(
                "TFLite has no such quantiser", "Quantise activations in 8 bits with one constant scale each."
            )
        return quantiser

    def _add_input(self, value: ir.Value) -> None:
        shape, name = static_shape(value), value.name or "input"
        if value.dtype != ir.DataType.FLOAT:
            raise ExportError(f"Input {name!r} has type {value.dtype}, expected FLOAT.", "Feed the model with float32.")
        quantiser = self._view.stored_quantiser(value)
        operand = self._tensor(name, shape, quantiser)
        self._program.inputs[name] = operand.tensor
        self._define(value, operand)

    def _add_output(self, value: ir.Value) -> None:
        name = value.name or "output"
        constant = self._view.constants.get(value)
        if constant is None:
            operand = self._values[value]
        else:
            tensor = self._emitter.constant(constant.real())
            operand = Operand(tensor, constant.array.shape, Layout.of_order(range(constant.array.ndim)))
        operand = self._emitter.arrange(operand, default_order(len(operand.shape)))
        taken = {*self._program.inputs.values(), *self._program.outputs.values()}
        if constant is not None or operand.tensor in taken:
            operand = self._emitter.copy(operand)
        self._program.tensors[operand.tensor].name = name
        self._program.outputs[name] = operand.tensor

    def _stand_in(self, step: Step) -> None:
        """Give the outputs of a refused node a value, so that the nodes behind it are checked as well."""
        for value in step.outputs:
            if value.shape is None or not value.shape.is_static():
                self._unknown.add(value)
            else:
                self._values[value] = self._tensor(value.name or "", static_shape(value), None)

    def _tensor(self, name: str, shape: Shape, quantiser: Quantiser | None) -> Operand:
        order = default_order(len(shape))
        tensor = Tensor.activation(name, [shape[axis] for axis in order], quantiser)
        return Operand(self._program.add_tensor(tensor), shape, Layout.of_order(order))
