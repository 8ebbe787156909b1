"""Rewrites of the ONNX graph before it is quantised or lowered: found by data flow, each checked by running it."""

from __future__ import annotations

from edgeconv.rewrite._pass import Equivalence, Rewrite, RewriteReport, RewriteResult, run_rewrites
from edgeconv.rewrite.balance_bottlenecks import BalanceBottlenecks
from edgeconv.rewrite.clip_from_min_max import ClipFromMinMax
from edgeconv.rewrite.equalise_bottlenecks import EqualiseBottlenecks
from edgeconv.rewrite.equalise_channels import EqualiseChannels
from edgeconv.rewrite.fold_batchnorm import FoldBatchNorm
from edgeconv.rewrite.fold_constants import FoldConstants
from edgeconv.rewrite.fuse_pointwise import FusePointwise
from edgeconv.rewrite.merge_stem_pair import MergeStemPair
from edgeconv.rewrite.normalise_gates import NormaliseGates
from edgeconv.rewrite.prune_gate_channels import PruneGateChannels
from edgeconv.rewrite.split_sequences import SplitSequences
from edgeconv.rewrite.transposed_conv_to_depth_to_space import TransposedConvToDepthToSpace

__all__ = [
    "BalanceBottlenecks",
    "ClipFromMinMax",
    "EqualiseBottlenecks",
    "EqualiseChannels",
    "Equivalence",
    "FoldBatchNorm",
    "FoldConstants",
    "FusePointwise",
    "MergeStemPair",
    "NormaliseGates",
    "PruneGateChannels",
    "Rewrite",
    "RewriteReport",
    "RewriteResult",
    "SplitSequences",
    "TransposedConvToDepthToSpace",
    "default_rewrites",
    "run_rewrites",
]


def default_rewrites() -> tuple[Rewrite, ...]:
    """The exact rewrites that need no calibration data, in the order in which each prepares the next."""
    return (
        FoldConstants(),
        SplitSequences(),
        ClipFromMinMax(),
        FoldBatchNorm(),
        NormaliseGates(),
        PruneGateChannels(),
        TransposedConvToDepthToSpace(),
        FusePointwise(),
        MergeStemPair(),
    )
