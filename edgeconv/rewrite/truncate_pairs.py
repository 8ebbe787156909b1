"""Cut the tensor between two convolutions with nothing between them down to fewer channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.errors import UsageError
from edgeconv.rewrite._edit import AffineLayer, Array
from edgeconv.rewrite._pass import Equivalence, RewriteResult
from edgeconv.rewrite.equalise_bottlenecks import bottleneck

__all__ = ["FactorPair", "TruncatePairs", "find_pairs"]

_Floats = npt.NDArray[np.float64]

_NUMERICAL_RANK = 1e-12  # of the largest eigenvalue; below it a direction carries nothing but rounding


@dataclasses.dataclass(frozen=True)
class FactorPair:
    """Two convolutions with nothing between them, and the second moments of the tensor z between them about zero."""

    first: AffineLayer
    second: AffineLayer
    moments: Array

    @property
    def name(self) -> str:
        """The second convolution's node name."""
        return str(self.second.node.name)

    @property
    def rank(self) -> int:
        """Channels of z."""
        return self.first.out_channels

    def lost(self) -> _Floats:
        """`lost[r]` is the share of the pair's output energy that rank r loses; `lost[0]` is 1, `lost[rank]` is 0.

        Exact for a 1x1 second convolution. For a larger one its positions count as uncorrelated.
        """
        values = np.square(self._svd()[1])
        total = float(values.sum())
        if total == 0:
            return np.zeros(self.rank + 1)
        return np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]]) / total

    def projection(self, rank: int) -> tuple[_Floats, _Floats]:
        """(rank x channels) and (channels x rank) matrices W and V: ``V W z`` is what stays of z."""
        left, values, right = self._svd()
        kept = max(1, min(rank, int(np.sum(values > values[0] * np.sqrt(_NUMERICAL_RANK)))))
        roots = np.sqrt(values[:kept])
        reading, writing = np.zeros((rank, self.rank)), np.zeros((self.rank, rank))
        if values[0] > 0:
            gramian_root, moments_root = _root(self._gramian()), _root(self.moments)
            reading[:kept] = (left[:, :kept] / roots).T @ gramian_root
            writing[:, :kept] = moments_root @ right[:, :kept] / roots
        return reading, writing

    def _gramian(self) -> _Floats:
        """What the second convolution makes of a unit of each channel of z, all kernel positions together."""
        columns = np.moveaxis(self.second.weight, 1, -1).reshape(-1, self.rank)
        gramian: _Floats = columns.T @ columns
        return gramian

    def _svd(self) -> tuple[_Floats, _Floats, _Floats]:
        """Of G^(1/2) S^(1/2), S the moments of z and G the Gramian; the right singular vectors are columns."""
        left, values, right = np.linalg.svd(_root(self._gramian()) @ _root(self.moments))
        return left, values, right.T


class TruncatePairs:
    """In `Conv -> Conv` replace the tensor z between them by the ``rank`` combinations of its channels that count.

    With B the second convolution and S the second moments of z over calibration data, the projection V W of the given
    rank that leaves the least ``E |B (z - V W z)|^2`` comes from the singular value decomposition of ``B S^(1/2)``
    (C. Eckart and G. Young, 1936; with data: X. Zhang et al., "Accelerating Very Deep Convolutional Networks", 2016).
    W goes into the first convolution and V into the second. Zeros stay zeros, so padding needs no care.

    Args:
        ranks: by the node name of a pair's second convolution.
        moments: channels x channels second moments about zero over the calibration data, by value name.

    Raises:
        UsageError: on `apply`, a name is no pair's, or a rank is below 1 or above the pair's own.
    """

    name = "truncate_pairs"
    equivalence: Equivalence = "approximated"

    def __init__(self, ranks: Mapping[str, int], moments: Mapping[str, Array]) -> None:
        self._ranks = ranks
        self._moments = moments

    def apply(self, model: ir.Model) -> RewriteResult:
        """Truncate in place; the details give each pair's ranks and the share of its output energy that is lost."""
        names = [pair.name for pair in find_pairs(model.graph, self._moments)]
        unknown = [name for name in self._ranks if name not in names]
        if unknown:
            raise UsageError(
                f"There is no pair of convolutions whose second one is {unknown[0]!r}.",
                f"There are: {', '.join(names) or 'none'}.",
            )
        details = []
        # One after the other: in a chain the middle convolution belongs to two pairs.
        for name in [name for name in names if name in self._ranks]:
            pair = next(pair for pair in find_pairs(model.graph, self._moments) if pair.name == name)
            rank = self._ranks[name]
            if not 1 <= rank <= pair.rank:
                raise UsageError(f"Rank {rank} was asked for {name}; its pair has rank {pair.rank}.")
            if rank < pair.rank:
                details.append(f"{name}: rank {pair.rank} to {rank}, loses {pair.lost()[rank]:.2g} of its energy")
                _truncate(pair, rank)
        return RewriteResult(len(details), tuple(details))


def find_pairs(graph: ir.Graph, moments: Mapping[str, Array]) -> Iterator[FactorPair]:
    """The pairs of ungrouped convolutions whose bottleneck has `moments`, in graph order."""
    for node in graph:
        pair = bottleneck(node.outputs[0]) if node.outputs else None
        found = moments.get(str(node.outputs[0].name)) if pair is not None else None
        if pair is not None and found is not None and pair[0].group == pair[1].group == 1:
            yield FactorPair(*pair, np.asarray(found, np.float64))


def _truncate(pair: FactorPair, rank: int) -> None:
    reading, writing = pair.projection(rank)
    first, second = pair.first, pair.second
    first.weight = np.tensordot(reading, first.weight, axes=1)
    first.bias = reading @ first.bias
    second.weight = np.moveaxis(np.tensordot(second.weight, writing, axes=(1, 0)), -1, 1)
    first.write()
    second.write()


def _root(matrix: Array) -> _Floats:
    """The symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(np.asarray(matrix, np.float64))
    root: _Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root
