"""What decides the graphs of an export beyond the model and its data; the head of a bundle's recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Choices"]


@dataclasses.dataclass(frozen=True)
class Choices:
    """Each default is what no search is needed for.

    ranges: name of the range estimator, see `estimator_names`.
    equalisation: strength of `EqualiseChannels`, 0 to 1.
    merged_pairs: second convolutions, by node name, of the factor pairs that are merged to dense ones beyond the stem.
    float_nodes: operators, by node name, that stay in float in the asymmetric scheme.
    ranks: by the node name of a pair's second convolution, the rank that the pair is truncated to.
    """

    ranges: str = "percentile"
    equalisation: float = 0.5
    merged_pairs: tuple[str, ...] = ()
    float_nodes: tuple[str, ...] = ()
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)
