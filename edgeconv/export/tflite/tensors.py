"""What a TFLite program is made of: quantisers, tensors, operations.  Plain data, no FlatBuffer in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["DTypeName", "Operation", "Program", "Quantiser", "Tensor"]

DTypeName = Literal["float32", "int8", "int32"]


@dataclasses.dataclass(frozen=True)
class Quantiser:
    """Affine quantiser ``real = scale * (q - zero_point)``: one pair, or one per slice along `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    @property
    def per_tensor(self) -> bool:
        """Whether one pair serves the whole tensor."""
        return len(self.scales) == 1

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantiser."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantiser."""
        return self.zero_points[0]

    def range(self) -> tuple[float, float]:
        """Smallest and largest real value that int8 can hold."""
        return (-128 - self.zero_point) * self.scale, (127 - self.zero_point) * self.scale

    def covers(self, other: Quantiser) -> bool:
        """Whether every value of `other` lies in the range of this one, half a step tolerated."""
        (low, high), (other_low, other_high) = self.range(), other.range()
        return low - self.scale / 2 <= other_low and other_high <= high + self.scale / 2

    def quantise(self, values: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """`values` as int8, rounded half to even and saturated, as ONNX's QuantizeLinear does; per tensor only."""
        steps = np.rint(np.asarray(values, np.float32) / np.float32(self.scale)) + self.zero_point
        integers: npt.NDArray[np.int8] = np.clip(steps, -128, 127).astype(np.int8)
        return integers

    def dequantise(self, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Real values of `array`, in float32 as ONNX's DequantizeLinear computes them."""
        shape = [1] * array.ndim
        if not self.per_tensor:
            shape[self.axis] = -1
        scale = np.asarray(self.scales, np.float32).reshape(shape)
        zero_point = np.asarray(self.zero_points, np.int32).reshape(shape)
        real: npt.NDArray[np.float32] = (array.astype(np.int32) - zero_point).astype(np.float32) * scale
        return real


@dataclasses.dataclass
class Tensor:
    """A tensor as it lies in memory; `data` makes it a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: DTypeName
    quantiser: Quantiser | None = None
    data: npt.NDArray[Any] | None = None

    @classmethod
    def activation(cls, name: str, shape: Sequence[int], quantiser: Quantiser | None) -> Tensor:
        """A tensor that is computed: int8 with a quantiser, float32 without."""
        return cls(name, tuple(shape), "float32" if quantiser is None else "int8", quantiser)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One TFLite operator: `code` is the name in ``BuiltinOperator``, -1 in `inputs` an input left out."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None


@dataclasses.dataclass
class Program:
    """Tensors and operations in order of execution; `inputs` and `outputs` map port names to tensors."""

    tensors: list[Tensor] = dataclasses.field(default_factory=list)
    operations: list[Operation] = dataclasses.field(default_factory=list)
    inputs: dict[str, int] = dataclasses.field(default_factory=dict)
    outputs: dict[str, int] = dataclasses.field(default_factory=dict)
    _constants: dict[tuple[Any, ...], int] = dataclasses.field(default_factory=dict)

    def add_tensor(self, tensor: Tensor) -> int:
        """Append `tensor` and return its index."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add_constant(self, name: str, data: npt.NDArray[Any], quantiser: Quantiser | None = None) -> int:
        """Index of a constant tensor of float32, int8 or int32 `data`; small equal constants are shared."""
        tensor = Tensor(name, data.shape, _DTYPES[data.dtype.name], quantiser, data)
        if data.nbytes > _SHARED_BYTES:
            return self.add_tensor(tensor)
        key = (tensor.dtype, tensor.shape, quantiser, data.tobytes())
        if key not in self._constants:
            self._constants[key] = self.add_tensor(tensor)
        return self._constants[key]


# Constants up to this size are compared while a program is built; the writer shares the data of larger ones.
_SHARED_BYTES = 4096

_DTYPES: dict[str, DTypeName] = {"float32": "float32", "int8": "int8", "int32": "int32"}
