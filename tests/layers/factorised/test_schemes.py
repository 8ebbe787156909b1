"""Every scheme: exact where it has enough terms, its printed formula, merge, and the best approximation below."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.layers.factorised import (
    AsymmetricConv2d,
    ChannelSvd,
    ConvShape,
    CpConv,
    DepthwiseSeparable,
    PointwiseFirstSvd,
    Tucker2,
)
from edgeconv.layers.sfconv import SFConv2d

SHAPE = ConvShape(64, 128, (3, 3))
SMALL = {
    "channel": lambda conv: ChannelSvd.from_conv(conv, 6),
    "pointwise-first": lambda conv: PointwiseFirstSvd.from_conv(conv, 4),
    "tucker": lambda conv: Tucker2.from_conv(conv, 4, 6),
    "cp": lambda conv: CpConv.from_conv(conv, 36),
    "asymmetric": lambda conv: AsymmetricConv2d.from_conv(conv, 12),
}
TRUNCATED = {
    "depthwise": DepthwiseSeparable.from_conv,
    "channel": lambda conv: ChannelSvd.from_conv(conv, 3),
    "pointwise-first": lambda conv: PointwiseFirstSvd.from_conv(conv, 2),
    "tucker": lambda conv: Tucker2.from_conv(conv, 2, 3),
    "cp": lambda conv: CpConv.from_conv(conv, 8),
    "asymmetric": lambda conv: AsymmetricConv2d.from_conv(conv, 4),
}
GEOMETRY = [{}, {"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (2, 1)}, {"bias": False}]


def dense(in_channels=4, out_channels=6, kernel=3, **options):
    torch.manual_seed(3)
    return nn.Conv2d(in_channels, out_channels, kernel, **options).double()


def images(channels=4):
    return torch.randn(2, channels, 11, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def error(factored, conv):
    return float((factored.merge().weight - conv.weight).detach().norm() / conv.weight.norm())


def count(module):
    return sum(step.weight.numel() for step in module.modules() if isinstance(step, nn.Conv2d))


@pytest.mark.parametrize("geometry", GEOMETRY)
@pytest.mark.parametrize("scheme", SMALL)
def test_full_rank_is_the_dense_convolution(scheme, geometry):
    conv = dense(**geometry)
    tolerance = 1e-4 if scheme == "cp" else 1e-10  # alternating least squares comes near, not there
    assert torch.allclose(SMALL[scheme](conv)(images()), conv(images()), atol=tolerance)


@pytest.mark.parametrize("geometry", GEOMETRY)
@pytest.mark.parametrize("scheme", TRUNCATED)
def test_merge_computes_what_the_chain_computes(scheme, geometry):
    factored = TRUNCATED[scheme](dense(**geometry))
    assert torch.allclose(factored.merge()(images()), factored(images()), atol=1e-12)


def test_a_depthwise_separable_kernel_is_found_again():
    conv = dense()
    with torch.no_grad():
        conv.weight.copy_(torch.randn(6, 4, 1, 1).double() * torch.randn(1, 4, 3, 3).double())
    factored = DepthwiseSeparable.from_conv(conv)
    assert torch.allclose(factored(images()), conv(images()), atol=1e-12)
    assert count(factored) == DepthwiseSeparable.weight_count(ConvShape.of(conv))


@pytest.mark.parametrize(
    ("parameters", "expected", "ratio"),
    [
        (DepthwiseSeparable.weight_count(SHAPE), 8_768, 8.41),
        (SFConv2d(64, 128, 3, bias=False, rank=32), 18_432, 4.0),
        (ChannelSvd.weight_count(SHAPE, 32), 22_528, 3.27),
        (PointwiseFirstSvd.weight_count(SHAPE, 32), 38_912, 1.89),
        (Tucker2.weight_count(SHAPE, 16, 32), 9_728, 7.58),
        (CpConv.weight_count(SHAPE, 64), 12_672, 5.82),
        (AsymmetricConv2d.weight_count(SHAPE, 64), 36_864, 2.0),
    ],
)
def test_the_formulas_of_the_seeds(parameters, expected, ratio):
    found = parameters if isinstance(parameters, int) else count(parameters)
    assert found == expected
    assert SHAPE.dense_parameters == 73_728
    assert SHAPE.dense_parameters / found == pytest.approx(ratio, abs=0.006)


def test_the_formulas_count_the_layers_weights():
    conv = dense(5, 7, (3, 5))
    shape = ConvShape.of(conv)
    assert count(ChannelSvd.from_conv(conv, 3)) == ChannelSvd.weight_count(shape, 3)
    assert count(PointwiseFirstSvd.from_conv(conv, 2)) == PointwiseFirstSvd.weight_count(shape, 2)
    assert count(Tucker2.from_conv(conv, 2, 3)) == Tucker2.weight_count(shape, 2, 3)
    assert count(CpConv.from_conv(conv, 4)) == CpConv.weight_count(shape, 4)
    assert count(AsymmetricConv2d.from_conv(conv, 4)) == AsymmetricConv2d.weight_count(shape, 4)


def test_depthwise_separation_saves_nothing_for_a_1x1():
    shape = ConvShape(16, 32, (1, 1))
    assert DepthwiseSeparable.weight_count(shape) > shape.dense_parameters


def test_channel_svd_is_the_best_of_its_rank():
    conv = dense()
    sigma = torch.linalg.svdvals(conv.weight.detach().reshape(6, -1))
    tail = float(sigma[3:].norm() / sigma.norm())
    assert error(ChannelSvd.from_conv(conv, 3), conv) == pytest.approx(tail, rel=1e-9)


def test_more_terms_lose_less():
    conv = dense(8, 12)
    for build in (
        lambda r: ChannelSvd.from_conv(conv, 2 * r),
        lambda r: PointwiseFirstSvd.from_conv(conv, r),
        lambda r: Tucker2.from_conv(conv, r, 2 * r),
        lambda r: CpConv.from_conv(conv, 8 * r),
    ):
        errors = [error(build(rank), conv) for rank in (1, 2, 4, 6)]
        assert errors == sorted(errors, reverse=True)


def test_tucker_iteration_is_no_worse_than_the_plain_truncation():
    conv = dense(8, 12)
    weight = conv.weight.detach()
    out = torch.linalg.svd(weight.flatten(1))[0][:, :3]
    inner = torch.linalg.svd(weight.transpose(0, 1).flatten(1))[0][:, :2]
    projected = torch.einsum("oihw,op,iq->pqhw", weight, out, inner)
    plain = torch.einsum("pqhw,op,iq->oihw", projected, out, inner)
    assert error(Tucker2.from_conv(conv, 2, 3), conv) <= float((plain - weight).norm() / weight.norm()) + 1e-12


def test_cp_finds_a_kernel_that_has_the_rank():
    torch.manual_seed(0)
    conv = dense(5, 6)
    factors = [torch.randn(size, 2, dtype=torch.float64) for size in (6, 5, 3, 3)]
    with torch.no_grad():
        conv.weight.copy_(torch.einsum("or,ir,hr,wr->oihw", *factors))
    assert error(CpConv.from_conv(conv, 2), conv) < 1e-4


def test_the_spatial_rank_of_a_dense_kernel_is_at_most_k_times_the_fewer_channels():
    conv = dense(4, 6, 3)
    assert error(SFConv2d.from_conv(conv, 3 * 4), conv) < 1e-12


def test_an_activation_in_between_cannot_be_merged():
    layer = AsymmetricConv2d.from_conv(dense(padding=1), 4, nn.ReLU())
    assert layer(images()).shape == (2, 6, 11, 13)
    with pytest.raises(UsageError, match="ReLU stands between"):
        layer.merge()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ChannelSvd.from_conv(dense(), 0), "from 1 to 6"),
        (lambda: ChannelSvd.from_conv(dense(), 7), "from 1 to 6"),
        (lambda: PointwiseFirstSvd.from_conv(dense(), 5), "from 1 to 4"),
        (lambda: Tucker2.from_conv(dense(), 5, 1), "in_rank"),
        (lambda: Tucker2.from_conv(dense(), 1, 7), "out_rank"),
        (lambda: CpConv.from_conv(dense(), 37), "from 1 to 36"),
        (lambda: CpConv.from_conv(dense(), True), "found True"),
        (lambda: DepthwiseSeparable.from_conv(dense(groups=2)), "groups is 2"),
        (lambda: DepthwiseSeparable.from_conv(dense(padding=1, padding_mode="reflect")), "reflect"),
        (lambda: Tucker2.from_conv(dense(padding="same"), 1, 1), "padding"),
        (lambda: ChannelSvd.from_conv(poisoned(), 1), "not finite"),
    ],
)
def test_bad_input_is_named(build, words):
    with pytest.raises(UsageError, match=words):
        build()


def poisoned():
    conv = dense()
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] = float("nan")
    return conv
