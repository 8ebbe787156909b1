"""Which ONNX operators can be lowered, and how: one function each, found by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeconv.export.tflite.emitter import Operand
    from edgeconv.export.tflite.op import Op

__all__ = ["Lowering", "Refusal", "lowerings", "lowers"]

Lower = Callable[["Op"], "Operand | tuple[Operand, ...]"]
Condition = Callable[["Op"], bool]

_lowerings: dict[str, Lowering] = {}


class Refusal(Exception):  # noqa: N818 - not an error of ours: the driver collects them into one UnsupportedOperatorError
    """This node cannot be lowered: why, and what to do about it."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


@dataclasses.dataclass(frozen=True)
class Lowering:
    """How one ONNX operator becomes TFLite operators.

    Attributes:
        lower: writes the operators and returns the outputs.
        data: the inputs that int8 arithmetic needs in int8; None when TFLite has no int8 kernel.
        fuses: whether a Relu, Clip(0, 6) or Clip(-1, 1) behind it can be its fused activation.
        int8_if: the further condition under which the int8 kernel computes what the Q/DQ graph says.
    """

    lower: Lower
    data: slice | None
    fuses: bool
    int8_if: Condition


def lowers(
    *op_types: str, data: slice | None = None, fuses: bool = False, int8_if: Condition = lambda op: True
) -> Callable[[Lower], Lower]:
    """Register a function as the lowering of `op_types`; see `Lowering` for the rest."""

    def register(lower: Lower) -> Lower:
        for op_type in op_types:
            _lowerings[op_type] = Lowering(lower, data, fuses, int8_if)
        return lower

    return register


def lowerings() -> Mapping[str, Lowering]:
    """Every lowering by the name of its operator in the default ONNX domain."""
    import edgeconv.export.tflite.ops  # noqa: F401 - fills the registry

    return _lowerings
