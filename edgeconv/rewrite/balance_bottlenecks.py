"""Choose the gauge between two convolutions with nothing between them, so that rounding there costs the least."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.rewrite._edit import Array
from edgeconv.rewrite._pass import Equivalence, RewriteResult
from edgeconv.rewrite.equalise_bottlenecks import bottleneck

__all__ = ["BalanceBottlenecks"]

_REGULARISATION = 1e-8  # relative; keeps directions that carry nothing from being blown up


class BalanceBottlenecks:
    """In `Conv -> Conv` replace the tensor z between them by T^-1 z, and undo it behind: (P T)(T^-1 Q) = P Q.

    Rounding z, each channel on its own range, adds ``sum_i |P t_i|^2 range_i^2 / 12`` to the output. Trained factors
    cancel: large correlated channels are subtracted by P, so that this sum exceeds the output's own power many times.
    The balancing T makes ``T^-1 S T^-T`` (S: second moments of z) and ``T^T P^T P T`` the same diagonal matrix L; with
    ranges in proportion to deviations the sum is then tr(L^2), the output's power itself. It is the transformation of
    balanced truncation (B. C. Moore, 1981) for the factorisation P Q. `EqualiseBottlenecks` gives each channel its
    range afterwards. The least that any T can reach is tr(L)^2 / channels, by a rotation of L to equal diagonals; that
    mixes what is large into every channel and its weights, and is not always better (docs/design-notes.md).

    Args:
        moments: channels x channels centred second moments over the calibration data, by value name.
    """

    name = "balance_bottlenecks"
    equivalence: Equivalence = "exact"

    def __init__(self, moments: Mapping[str, Array]) -> None:
        self._moments = moments

    def apply(self, model: ir.Model) -> RewriteResult:
        """Change the gauge in place; the details give how much less the rounding of each bottleneck adds."""
        details = []
        for node in list(model.graph):
            pair = bottleneck(node.outputs[0]) if node.outputs else None
            moments = self._moments.get(str(node.outputs[0].name)) if pair is not None else None
            if pair is None or moments is None or pair[0].group != 1 or pair[1].group != 1:
                continue
            first, second = pair
            weight = second.weight.astype(np.float64)
            columns = np.moveaxis(weight, 1, -1).reshape(-1, weight.shape[1])
            gramian = columns.T @ columns
            balancing = _balancing(np.asarray(moments, np.float64), gramian)
            if balancing is None:
                continue
            inverse = np.linalg.inv(balancing)
            first.weight = np.tensordot(inverse, first.weight, axes=1)
            first.bias = inverse @ first.bias
            second.weight = np.moveaxis(np.tensordot(weight, balancing, axes=(1, 0)), -1, 1)
            first.write()
            second.write()
            before = float(np.sum(np.diag(gramian) * np.diag(moments)))
            after = float(np.sum(gramian * np.asarray(moments)))
            gain_db = 10 * np.log10(before / max(after, 1e-300))
            details.append(f"{node.name}: rounding adds {abs(gain_db):.1f} dB {'less' if gain_db >= 0 else 'more'}")
        return RewriteResult(len(details), tuple(details))


def _balancing(moments: Array, gramian: Array) -> Array | None:
    """The balancing transformation of two positive semi-definite matrices; None where one of them is zero."""
    identity = np.eye(len(moments))
    scales = [float(np.trace(matrix)) / len(matrix) for matrix in (moments, gramian)]
    if not min(scales) > 0:
        return None
    root = np.linalg.cholesky(moments + _REGULARISATION * scales[0] * identity)
    basis, values, _ = np.linalg.svd(root.T @ (gramian + _REGULARISATION * scales[1] * identity) @ root)
    balanced: Array = root @ basis * values**-0.25
    return balanced
