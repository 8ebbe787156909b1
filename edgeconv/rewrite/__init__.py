"""Rewrites of the ONNX graph before it is quantised or lowered: found by data flow, each checked by running it."""

from __future__ import annotations

from edgeconv.rewrite._pass import Equivalence, Rewrite, RewriteReport, RewriteResult, run_rewrites
from edgeconv.rewrite.balance_bottlenecks import BalanceBottlenecks
from edgeconv.rewrite.bound_masks import BoundMasks
from edgeconv.rewrite.clip_from_min_max import ClipFromMinMax
from edgeconv.rewrite.compress_gates import CompressGates
from edgeconv.rewrite.equalise_bottlenecks import EqualiseBottlenecks
from edgeconv.rewrite.equalise_channels import EqualiseChannels
from edgeconv.rewrite.fold_batchnorm import FoldBatchNorm
from edgeconv.rewrite.fold_constants import FoldConstants
from edgeconv.rewrite.fuse_pointwise import FusePointwise
from edgeconv.rewrite.merge_pairs import MergePairs, Pair, factor_pairs
from edgeconv.rewrite.multiply_by_reciprocal import MultiplyByReciprocal
from edgeconv.rewrite.normalise_gates import NormaliseGates
from edgeconv.rewrite.prune_gate_channels import PruneGateChannels
from edgeconv.rewrite.split_sequences import SplitSequences
from edgeconv.rewrite.transposed_conv_to_depth_to_space import TransposedConvToDepthToSpace

__all__ = [
    "BalanceBottlenecks",
    "BoundMasks",
    "ClipFromMinMax",
    "CompressGates",
    "EqualiseBottlenecks",
    "EqualiseChannels",
    "Equivalence",
    "FoldBatchNorm",
    "FoldConstants",
    "FusePointwise",
    "MergePairs",
    "MultiplyByReciprocal",
    "NormaliseGates",
    "Pair",
    "PruneGateChannels",
    "Rewrite",
    "RewriteReport",
    "RewriteResult",
    "SplitSequences",
    "TransposedConvToDepthToSpace",
    "default_rewrites",
    "factor_pairs",
    "run_rewrites",
]


def default_rewrites() -> tuple[Rewrite, ...]:
    """The exact rewrites that need no calibration data, in the order in which each prepares the next."""
    return (
        FoldConstants(),
        SplitSequences(),
        ClipFromMinMax(),
        MultiplyByReciprocal(),
        BoundMasks(),
        FoldBatchNorm(),
        NormaliseGates(),
        PruneGateChannels(),
        TransposedConvToDepthToSpace(),
        FusePointwise(),
        MergePairs(),
    )
