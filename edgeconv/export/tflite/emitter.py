"""Writing operators into a program: layouts, copies between them, changes of quantiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.layout import Layout, Shape, default_order, regroup
from edgeconv.export.tflite.tensors import Operation, Program, Quantiser, Tensor

__all__ = ["Emitter", "Operand"]

_NON_NEGATIVE_CODES = ("LOGISTIC", "RELU", "RELU6", "RELU_0_TO_1")
_NON_NEGATIVE_ACTIVATIONS = (schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6)


@dataclasses.dataclass(frozen=True)
class Operand:
    """An ONNX value of `shape` kept in a tensor of the program."""

    tensor: int
    shape: Shape
    layout: Layout


class Emitter:
    """Appends operators to `program`; `scope` prefixes the names of the tensors they write."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.scope = ""
        self._copies: dict[tuple[str, int, Any], int] = {}
        self._viewed: dict[int, int] = {}

    def stored(self, operand: Operand) -> Shape:
        """Shape of the tensor behind `operand`."""
        return self.program.tensors[operand.tensor].shape

    def quantiser(self, operand: Operand) -> Quantiser | None:
        """Quantiser of an int8 operand, None for a float one."""
        return self.program.tensors[operand.tensor].quantiser

    def order(self, operand: Operand) -> tuple[int, ...] | None:
        """Order of the axes in memory if each is one stored dimension, else None."""
        return operand.layout.order(len(self.stored(operand)))

    def is_non_negative(self, operand: Operand) -> bool:
        """Whether `operand` is known to hold no negative value, by its quantiser or the activation that wrote it."""
        quantiser = self.quantiser(operand)
        if quantiser is not None:
            return quantiser.zero_point == -128
        writer = next((done for done in self.program.operations if operand.tensor in done.outputs), None)
        if writer is None:
            return False
        activation = getattr(writer.options, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
        return writer.code in _NON_NEGATIVE_CODES or activation in _NON_NEGATIVE_ACTIVATIONS

    def tensor(self, stored: Sequence[int], quantiser: Quantiser | None, label: str = "output") -> int:
        """A tensor that an operator is going to write, int8 with a quantiser and float32 without."""
        return self.program.add_tensor(Tensor.activation(f"{self.scope}/{label}", stored, quantiser))

    def emit(
        self, code: str, inputs: Sequence[int], stored: Sequence[int], quantiser: Quantiser | None, options: Any = None
    ) -> int:
        """Append operator `code` with one output of shape `stored`; returns the output tensor."""
        output = self.tensor(stored, quantiser, code.lower())
        self.append(code, inputs, [output], options)
        return output

    def append(self, code: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> None:
        """Append operator `code`, which writes tensors that are there already."""
        self.program.operations.append(Operation(code, tuple(inputs), tuple(outputs), options))

    def constant(self, array: npt.ArrayLike, quantiser: Quantiser | None = None, label: str = "constant") -> int:
        """A constant tensor; float64 and int64 are narrowed to what TFLite computes with."""
        data = np.asarray(array)
        narrow = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}.get(data.dtype, data.dtype.type)
        return self.program.add_constant(f"{self.scope}/{label}", data.astype(narrow, copy=False), quantiser)

    def view(self, tensor: int, shape: Sequence[int]) -> int:
        """The same data in the same order under another shape."""
        source = self._viewed.get(tensor, tensor)
        target = tuple(shape)
        original = self.program.tensors[source]
        if original.shape == target:
            return source
        key = ("RESHAPE", source, target)
        if key not in self._copies:
            options = schema.ReshapeOptionsT()
            options.newShape = list(target)
            new_shape = self.constant(np.array(target, np.int32), label="shape")
            self._copies[key] = self.emit("RESHAPE", [source, new_shape], target, original.quantiser, options)
            self._viewed[self._copies[key]] = source
        return self._copies[key]

    def copy(self, operand: Operand) -> Operand:
        """The same value in a tensor of its own."""
        shape = self.stored(operand)
        inputs = [operand.tensor, self.constant(np.array(shape, np.int32), label="shape")]
        return dataclasses.replace(operand, tensor=self.emit("RESHAPE", inputs, shape, self.quantiser(operand)))

    def reshape(self, operand: Operand, shape: Shape) -> Operand:
        """ONNX Reshape; transposes only if `shape` cuts across the way the axes are interleaved."""
        if shape == operand.shape:
            return operand
        regrouped = regroup(operand.layout, self.stored(operand), shape)
        if regrouped is None:
            operand = self.arrange(operand, range(len(operand.shape)))
            return Operand(self.view(operand.tensor, shape), shape, Layout.of_order(range(len(shape))))
        layout, stored = regrouped
        return Operand(self.view(operand.tensor, stored), shape, layout)

    def arrange(self, operand: Operand, order: Sequence[int]) -> Operand:
        """One stored dimension for each axis, in `order`; a TRANSPOSE only if data have to move."""
        order = tuple(order)
        stored = self.stored(operand)
        target = tuple(operand.shape[axis] for axis in order)
        moved = [dim for dim in operand.layout.dims(order) if stored[dim] != 1]
        if moved == sorted(moved):
            tensor = self.view(operand.tensor, target)
        elif self.order(operand) is not None:
            tensor = self._transpose(operand.tensor, [operand.layout.axes[axis][0] for axis in order])
        else:
            dims = sorted(moved)
            compact = self.view(operand.tensor, [stored[dim] for dim in dims])
            tensor = self.view(self._transpose(compact, [dims.index(dim) for dim in moved]), target)
        return Operand(tensor, operand.shape, Layout.of_order(order))

    def plain(self, operand: Operand) -> Operand:
        """`operand` with one stored dimension for each axis: the default order, or one that moves nothing."""
        if self.order(operand) is not None:
            return operand
        stored, default = self.stored(operand), default_order(len(operand.shape))
        first = [next((dim for dim in dims if stored[dim] != 1), -1) for dims in operand.layout.axes]
        as_it_lies = sorted(range(len(first)), key=lambda axis: first[axis])
        for order in (default, as_it_lies):
            moved = [dim for dim in operand.layout.dims(order) if stored[dim] != 1]
            if moved == sorted(moved):
                return self.arrange(operand, order)
        return self.arrange(operand, default)

    def like(self, operand: Operand, leader: Operand) -> Operand:
        """`operand`, which broadcasts to the shape of `leader`, with dimensions that broadcast to those of `leader`."""
        shape, order = self.split_like(operand.shape, leader)
        return self.arrange(self.reshape(operand, shape), order)

    def split_like(self, shape: Shape, leader: Operand) -> tuple[Shape, tuple[int, ...]]:
        """Shape and order of axes that bring a value of `shape` (of the rank of `leader`) into `leader`'s layout."""
        stored = self.stored(leader)
        sizes: list[int] = []
        position: dict[int, int] = {}
        for axis, dims in enumerate(leader.layout.axes):
            for dim in dims:
                position[dim] = len(sizes)
                sizes.append(stored[dim] if shape[axis] == leader.shape[axis] else 1)
        for dim in range(len(stored)):
            if dim not in position:
                position[dim] = len(sizes)
                sizes.append(1)
        return tuple(sizes), tuple(position[dim] for dim in range(len(stored)))

    def requantise(self, operand: Operand, quantiser: Quantiser | None) -> Operand:
        """`operand` under another quantiser, or as a float32 for None; itself when it is that already."""
        tensor = self.program.tensors[operand.tensor]
        if tensor.quantiser == quantiser:
            return operand
        key = ("QUANTIZE", operand.tensor, quantiser)
        if key not in self._copies:
            code = "DEQUANTIZE" if quantiser is None else "QUANTIZE"
            self._copies[key] = self.emit(code, [operand.tensor], tensor.shape, quantiser)
        return dataclasses.replace(operand, tensor=self._copies[key])

    def _transpose(self, tensor: int, permutation: Sequence[int]) -> int:
        key = ("TRANSPOSE", tensor, tuple(permutation))
        if key not in self._copies:
            source = self.program.tensors[tensor]
            inputs = [tensor, self.constant(np.array(permutation, np.int32), label="permutation")]
            stored = [source.shape[dim] for dim in permutation]
            self._copies[key] = self.emit("TRANSPOSE", inputs, stored, source.quantiser)
        return self._copies[key]
