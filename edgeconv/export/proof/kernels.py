"""What a runtime's optimiser left of a graph, in the words that all runtimes share."""

from __future__ import annotations

import dataclasses

__all__ = ["ANY_MACHINE", "Kernels"]

ANY_MACHINE = "any"


@dataclasses.dataclass(frozen=True)
class Kernels:
    """By the names of the Q/DQ graph's nodes: which are computed by kernels that read integers, and which in float.

    `quantisers` are the QuantizeLinear and DequantizeLinear that run by themselves, one name for each kernel;
    `layout_changes` counts transpositions and the like. `machine` is the processor that it holds for, where builds of
    the runtime for others have other kernels.
    """

    integer: frozenset[str]
    floating: tuple[str, ...]
    quantisers: tuple[str, ...]
    layout_changes: int
    machine: str = ANY_MACHINE
