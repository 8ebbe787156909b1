from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.layers import SFConv2d, fold_kernel, rank_from_scale, unfold_kernel


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, tuple[int, int]]:
    pair = lambda low, high: draw(st.tuples(st.integers(low, high), st.integers(low, high)))  # noqa: E731
    return {
        "kernel_size": draw(st.tuples(st.sampled_from([1, 2, 3, 5, 7]), st.sampled_from([1, 2, 3, 5, 7]))),
        "stride": pair(1, 2),
        "padding": pair(0, 3),
        "dilation": pair(1, 2),
    }


def random_layer(geometry: dict[str, tuple[int, int]], *, rank: int | None = None, bias: bool = True) -> SFConv2d:
    kernel_h, kernel_w = geometry["kernel_size"]
    rank = min(4 * kernel_h, 3 * kernel_w) if rank is None else rank
    layer = SFConv2d(3, 4, **geometry, bias=bias, rank=rank, dtype=torch.float64)
    if layer.vertical.bias is not None:
        nn.init.normal_(layer.vertical.bias)
    return layer


@given(geometry=geometries(), bias=st.booleans(), height=st.integers(13, 17), width=st.integers(13, 17))
@settings(deadline=None, max_examples=60)
def test_two_steps_equal_the_merged_convolution(
    geometry: dict[str, tuple[int, int]], bias: bool, height: int, width: int
) -> None:
    torch.manual_seed(0)
    layer = random_layer(geometry, bias=bias)
    dense = layer.merge()
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    expected = nn.functional.conv2d(
        x, dense.weight, dense.bias, geometry["stride"], geometry["padding"], geometry["dilation"]
    )
    torch.testing.assert_close(dense(x), expected, rtol=0, atol=0)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12 * max(1.0, scale))


@given(geometry=geometries(), bias=st.booleans())
@settings(deadline=None, max_examples=40)
def test_from_conv_then_merge_gives_the_dense_kernel_back_at_full_rank(
    geometry: dict[str, tuple[int, int]], bias: bool
) -> None:
    torch.manual_seed(1)
    dense = nn.Conv2d(3, 4, **geometry, bias=bias, dtype=torch.float64)
    kernel_h, kernel_w = geometry["kernel_size"]
    merged = SFConv2d.from_conv(dense, min(4 * kernel_h, 3 * kernel_w)).merge()
    torch.testing.assert_close(merged.weight, dense.weight, rtol=0, atol=1e-12)
    assert (merged.stride, merged.padding, merged.dilation) == (dense.stride, dense.padding, dense.dilation)
    if bias:
        torch.testing.assert_close(merged.bias, dense.bias, rtol=0, atol=0)
    else:
        assert merged.bias is None


def test_weights_are_the_elements_of_the_factors() -> None:
    layer = SFConv2d(3, 4, (5, 7), rank=2)
    p, q = layer.factors()
    assert (p.shape, q.shape) == ((4 * 5, 2), (2, 3 * 7))
    assert p[3 * 5 + 2, 1] == layer.vertical.weight[3, 1, 2, 0]
    assert q[1, 2 * 7 + 4] == layer.horizontal.weight[1, 2, 0, 4]


def test_unfolding_interleaves_a_channel_axis_and_a_spatial_axis() -> None:
    weight = torch.randn(4, 3, 5, 7)
    matrix = unfold_kernel(weight)
    assert matrix.shape == (4 * 5, 3 * 7)
    assert matrix[3 * 5 + 2, 1 * 7 + 6] == weight[3, 1, 2, 6]
    torch.testing.assert_close(fold_kernel(matrix, (4, 3, 5, 7)), weight, rtol=0, atol=0)


def test_from_conv_is_exact_with_the_permuted_unfolding_where_a_plain_reshape_is_useless() -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    x = torch.randn(1, 16, 20, 20)
    error = SFConv2d.from_conv(dense, 48)(x) - dense(x)
    assert float(error.detach().norm() / dense(x).detach().norm()) < 2e-6

    naive = SFConv2d.from_conv(dense, 48)
    u, s, vh = torch.linalg.svd(dense.weight.detach().reshape(48, 48))
    naive._set_factors(u * s.sqrt(), s.sqrt()[:, None] * vh)
    error = naive(x) - dense(x)
    assert float(error.detach().norm() / dense(x).detach().norm()) > 1


@given(rank=st.integers(1, 12))
@settings(deadline=None)
def test_from_conv_reaches_the_best_error_of_its_rank(rank: int) -> None:
    torch.manual_seed(2)
    dense = nn.Conv2d(4, 4, 3, dtype=torch.float64)
    layer = SFConv2d.from_conv(dense, rank)
    sigma = torch.linalg.svdvals(unfold_kernel(dense.weight.detach()))
    squared = (layer.merge().weight - dense.weight).detach().square().sum()
    torch.testing.assert_close(squared, sigma[rank:].square().sum(), rtol=1e-9, atol=1e-20)


def test_from_conv_shares_the_norm_between_the_factors() -> None:
    dense = nn.Conv2d(6, 8, 3)
    p, q = SFConv2d.from_conv(dense, 10).factors()
    sigma = torch.linalg.svdvals(unfold_kernel(dense.weight.detach()))[:10]
    torch.testing.assert_close(torch.linalg.svdvals(p.detach()), sigma.sqrt())
    torch.testing.assert_close(torch.linalg.svdvals(q.detach()), sigma.sqrt())


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel_size", [(3, 3), (4, 2), (1, 5)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding_equals_the_dense_layers(kernel_size: tuple[int, int], padding: str) -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(3, 4, kernel_size, padding=padding, dilation=(2, 1), dtype=torch.float64)
    layer = SFConv2d.from_conv(dense, min(4 * kernel_size[0], 3 * kernel_size[1]))
    x = torch.randn(1, 3, 9, 11, dtype=torch.float64)
    torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-12)
    assert layer.merge().padding == padding


def test_mode_and_type_are_kept() -> None:
    dense = nn.Conv2d(3, 4, 3, dtype=torch.float64).eval()
    layer = SFConv2d.from_conv(dense, 2)
    merged = layer.merge()
    assert (layer.training, merged.training) == (False, False)
    assert (layer.horizontal.weight.dtype, merged.weight.dtype) == (torch.float64, torch.float64)


def test_initialisation_is_he_normal_on_both_factors() -> None:
    torch.manual_seed(0)
    layer = SFConv2d(64, 128, 3, rank=64)
    p, q = layer.factors()
    assert float(p.detach().std()) == pytest.approx(math.sqrt(2 / 64), rel=0.02)
    assert float(q.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 3)), rel=0.02)
    assert layer.vertical.bias is not None
    assert not layer.vertical.bias.any()


@pytest.mark.parametrize(
    ("scale", "channels", "rank"),
    [
        (0.1, (3, 64), 1),
        (0.5, (3, 64), 2),
        (0.5, (1, 64), 1),
        (0.25, (64, 128), 16),
        (0.25, (6, 6), 2),
        (1.0, (8, 4), 4),
    ],
)
def test_rank_rule_rounds_half_to_even_and_is_at_least_one(scale: float, channels: tuple[int, int], rank: int) -> None:
    assert rank_from_scale(scale, *channels) == rank


@pytest.mark.parametrize("scale", [0.0, -0.5, math.nan, math.inf])
def test_rank_rule_refuses_a_scale_that_is_no_positive_number(scale: float) -> None:
    with pytest.raises(UsageError, match="positive and finite"):
        rank_from_scale(scale, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 2}, "groups is 2"),
        ({"rank": 0}, "rank must be an integer of at least 1, found 0"),
        ({"rank": -3}, "rank must be an integer of at least 1, found -3"),
        ({"rank": 2.0}, "rank must be an integer of at least 1, found 2.0"),
        ({"rank": True}, "rank must be an integer of at least 1, found True"),
        ({"rank": 13}, "full rank 12"),
        ({"kernel_size": 0}, "kernel_size must be an integer of at least 1"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be one or two integers"),
        ({"stride": (1, 0)}, "stride must be an integer of at least 1"),
        ({"padding": -1}, "padding must be an integer of at least 0"),
        ({"padding": "reflect"}, "padding must be integers, 'same' or 'valid'"),
        ({"padding": "same", "stride": 2}, "padding 'same' needs stride 1"),
        ({"dilation": 1.5}, "dilation must be an integer of at least 1"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "rank": 2, **changes}
    with pytest.raises(UsageError, match=message):
        SFConv2d(**arguments)  # type: ignore[arg-type]


def test_from_conv_refuses_other_padding_than_zeros() -> None:
    with pytest.raises(UsageError, match="padding_mode is 'reflect'"):
        SFConv2d.from_conv(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), 2)


def test_from_conv_refuses_grouped_convolutions() -> None:
    with pytest.raises(UsageError, match="groups is 4"):
        SFConv2d.from_conv(nn.Conv2d(4, 4, 3, groups=4), 2)


def test_exported_program_computes_the_same() -> None:
    layer = SFConv2d(3, 8, 3, stride=2, padding=1, rank=2).eval()
    x = torch.randn(1, 3, 17, 15)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_kernel_that_is_not_finite_is_refused(value):
    conv = nn.Conv2d(4, 4, 3)
    with torch.no_grad():
        conv.weight[1, 2, 0, 0] = value
    with pytest.raises(UsageError, match="not finite"):
        SFConv2d.from_conv(conv, 2)
