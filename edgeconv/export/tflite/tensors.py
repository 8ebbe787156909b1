"""What a TFLite program is made of: quantisers, tensors, operations.  Plain data, no FlatBuffer in it."""

from __future__ import annotations

import dataclasses
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
        return np.clip(steps, -128, 127).astype(np.int8)

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
        key = (data.dtype.str, data.shape, quantiser, data.tobytes() if data.nbytes <= _SHARED_BYTES else id(data))
        if key not in self._constants:
            self._constants[key] = self.add_tensor(Tensor(name, data.shape, _dtype_name(data.dtype), quantiser, data))
        return self._constants[key]


# Constants up to this size are compared when a program is built; the writer shares larger ones by their hash.
_SHARED_BYTES = 4096


def _dtype_name(dtype: np.dtype[Any]) -> DTypeName:
    names: dict[np.dtype[Any], DTypeName] = {
        np.dtype(np.float32): "float32",
        np.dtype(np.int8): "int8",
        np.dtype(np.int32): "int32",
    }
    return names[dtype]
