"""What decides the graphs of an export beyond the model and its data; the head of a bundle's recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Choices"]


@dataclasses.dataclass(frozen=True)
class Choices:
    """Each default is what no search is needed for.

    ranges: name of the range estimator, see `estimator_names`.
    tensor_ranges: ranges (low, high) of single tensors, by name, instead of what the estimator says.
    balancing: whether `BalanceBottlenecks` chooses the gauge of factor pairs, before channels get equal ranges.
    equalisation: strength of `EqualiseChannels`, 0 to 1.
    merged_pairs: second convolutions, by node name, of the factor pairs that are merged to dense ones beyond the stem.
    float_nodes: operators, by node name, that stay in float in the asymmetric scheme.
    ranks: by the node name of a pair's second convolution, the rank that the pair is truncated to.
    gates: how constant gate maps are stored, see `CompressGates`: "folded", "expression" or "reduced".
    gate_rank: separable terms of each channel of a gate that is an expression.
    learn_steps: how many steps the integers of the asymmetric scheme are learned for after all else; 0 for not at all.
    """

    ranges: str = "percentile"
    tensor_ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    balancing: bool = True
    equalisation: float = 0.5
    merged_pairs: tuple[str, ...] = ()
    float_nodes: tuple[str, ...] = ()
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    gates: str = "folded"
    gate_rank: int = 4
    learn_steps: int = 0
