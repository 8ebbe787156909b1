"""What a runtime left of a graph, in words that all runtimes share.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import dataclasses
from typing import FrozenSet, List, Mapping, Tuple

__all__ = ["ANY_MACHINE", "ROW", "Kernels"]

ANY_MACHINE = "any"
ROW = "#row"  # between the name of an operator that is computed row by row and the number of the row


@dataclasses.dataclass(frozen=True)
class Kernels:
    """By the names of the Q/DQ graph's nodes: which are computed by kernels that read integers, and which in float.

    `quantisers` are the QuantizeLinear and DequantizeLinear that run by themselves, one name for each kernel;
    `layout_changes` counts transpositions and the like. `machine` is the processor that it holds for, where builds of
    the runtime for others have other kernels.
    """

    integer: FrozenSet[str]
    floating: Tuple[str, ...]
    quantisers: Tuple[str, ...]
    layout_changes: int
    machine: str = ANY_MACHINE

    def divide(self, macs: Mapping[str, int]) -> Tuple[float, List[str]]:
        """The part of the multiply-accumulates `macs` of operators, by name, that is on integers; those that are not.

        An operator counts as int8 where a kernel that reads integers is seen to compute it, so one that cannot be found
        does not.
        """
        in_float = [name for name in macs if name not in self.integer]
        total = sum(macs.values())
        return 1 - sum(macs[name] for name in in_float) / total if total else 1.0, in_float
