"""Convolutions with fewer weights, each with the dense one it stands for and a formula of its cost.

`SFConv2d` is the scheme called spatial low rank.
"""

from edgeconv.layers.factorised.asymmetric import AsymmetricConv2d
from edgeconv.layers.factorised.base import ConvShape, Factorised
from edgeconv.layers.factorised.channel_svd import ChannelSvd, PointwiseFirstSvd
from edgeconv.layers.factorised.cp import CpConv
from edgeconv.layers.factorised.depthwise import DepthwiseSeparable
from edgeconv.layers.factorised.tucker import Tucker2

__all__ = [
    "AsymmetricConv2d",
    "ChannelSvd",
    "ConvShape",
    "CpConv",
    "DepthwiseSeparable",
    "Factorised",
    "PointwiseFirstSvd",
    "Tucker2",
]
