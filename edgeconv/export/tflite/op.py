"""What the lowering of one operator sees: its operands in the arithmetic it runs in, its attributes, its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Emitter, Operand
from edgeconv.export.tflite.graph import Constant, GraphView, Step, static_shape
from edgeconv.export.tflite.layout import Layout, Shape, default_order
from edgeconv.export.tflite.registry import Refusal
from edgeconv.export.tflite.tensors import Quantiser

__all__ = ["NHWC", "Op"]

NHWC = Layout.of_order((0, 2, 3, 1))


class Op:
    """One step of the graph while it is lowered.

    `int8` says in which arithmetic: then `quantisers` are those of the outputs, and data operands come as int8 tensors.
    Otherwise `quantisers` are all None and every operand is float32.
    """

    def __init__(self, view: GraphView, step: Step, emitter: Emitter, values: dict[ir.Value, Operand]) -> None:
        self._view = view
        self._values = values
        self.step = step
        self.emitter = emitter
        self.int8 = False
        self.quantisers: tuple[Quantiser | None, ...] = tuple(None for _ in step.outputs)

    @property
    def quantiser(self) -> Quantiser | None:
        """Quantiser of the first output."""
        return self.quantisers[0]

    @property
    def activation(self) -> str:
        """The activation to fuse: a name of TFLite's ``ActivationFunctionType``."""
        return self.step.activation

    @property
    def arity(self) -> int:
        """Number of inputs, those left out at the end not counted."""
        return len(self.step.inputs)

    @property
    def per_tensor(self) -> bool:
        """Whether every data input is there in int8 with one scale for the whole tensor."""
        quantisers = [self.input_quantiser(index) for index in range(self.arity)]
        return all(quantiser is not None and quantiser.per_tensor for quantiser in quantisers)

    @property
    def dcr_order(self) -> tuple[int, ...] | None:
        """Order in which this convolution is to write its channels, None for the usual one."""
        return self._view.dcr_orders.get(self.step.node)

    @property
    def reads_dcr(self) -> bool:
        """Whether the channels that this pixel shuffle reads are in DCR order already."""
        return self.step.node in self._view.shuffles

    def fused(self, options: Any) -> Any:
        """`options` with the activation to fuse set."""
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, self.activation)
        return options

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, `default` when it is not there."""
        return self.step.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < self.arity and self.step.inputs[index] is not None

    def shape(self, index: int) -> Shape:
        """ONNX shape of an input."""
        constant = self.constant(index)
        return tuple(constant.array.shape) if constant is not None else self._variable(index).shape

    def output_shape(self, index: int = 0) -> Shape:
        """ONNX shape of an output."""
        return static_shape(self.step.outputs[index])

    def constant(self, index: int) -> Constant | None:
        """The constant behind an input, None when it is not one."""
        value = self.step.inputs[index] if self.has(index) else None
        return self._view.constants.get(value) if value is not None else None

    def numbers(self, index: int, what: str) -> npt.NDArray[Any]:
        """A constant input that steers the operator; refused when it is computed at run time."""
        constant = self.constant(index)
        if constant is None:
            self.refuse(f"{what} is computed at run time", "Export with fixed input shapes and simplify the graph.")
        return constant.real()

    def ints(self, index: int, name: str) -> list[int] | None:
        """Integers given as input `index` (newer opsets) or attribute `name` (older ones), None when left out."""
        if self.has(index):
            return [int(value) for value in self.numbers(index, name).ravel()]
        given = self.attr(name)
        return None if given is None else [int(value) for value in np.ravel(given)]

    def input_quantiser(self, index: int) -> Quantiser | None:
        """Quantiser of an input that is there in int8, None of one that is float."""
        constant = self.constant(index)
        if constant is not None:
            return constant.quantiser
        return self.emitter.quantiser(self._variable(index)) if self.has(index) else None

    def operand(self, index: int) -> Operand:
        """A data input in the arithmetic of the operator; a constant one is written in the default layout."""
        constant = self.constant(index)
        if constant is not None:
            return self.constant_operand(constant, default_order(constant.array.ndim))
        operand = self._variable(index)
        return operand if self.int8 else self.emitter.requantise(operand, None)

    def constant_operand(self, constant: Constant, order: Sequence[int], shape: Shape | None = None) -> Operand:
        """A constant, reshaped to `shape`, stored in `order`: integers in int8 arithmetic, else real values."""
        array = constant.array if self.int8 else constant.real().astype(np.float32, copy=False)
        array = array if shape is None else array.reshape(shape)
        quantiser = constant.quantiser if self.int8 else None
        tensor = self.emitter.constant(array.transpose(order), quantiser)
        return Operand(tensor, tuple(array.shape), Layout.of_order(order))

    def nhwc(self, operand: Operand) -> Operand:
        """`operand`, of rank 4, stored N, H, W, C."""
        return self.emitter.arrange(operand, default_order(4))

    def emit_like(
        self, code: str, operand: Operand, *more: int, options: Any = None, quantiser: Quantiser | None = None
    ) -> Operand:
        """An operator that keeps shape and layout of its first input."""
        tensor = self.emitter.emit(code, [operand.tensor, *more], self.emitter.stored(operand), quantiser, options)
        return Operand(tensor, operand.shape, operand.layout)

    def refuse(self, reason: str, advice: str) -> NoReturn:
        """Report that this node cannot be lowered."""
        raise Refusal(reason, advice)

    def _variable(self, index: int) -> Operand:
        value = self.step.inputs[index]
        if value is None:
            self.refuse(f"its input {index} is missing", "Give it every input that the ONNX operator requires.")
        return self._values[value]
