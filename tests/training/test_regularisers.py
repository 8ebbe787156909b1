from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.layers.sfconv import SFConv2d
from edgeconv.training.regularisers import frobenius_decay, schedule_names, spectral_decay, weight_at


def layer():
    torch.manual_seed(0)
    return SFConv2d(6, 8, 3, rank=4).double()


def as_matrices(module):
    p = module.vertical.weight.grad.squeeze(3).permute(0, 2, 1).reshape(-1, module.rank)
    return p, module.horizontal.weight.grad.reshape(module.rank, -1)


def test_frobenius_decay_is_the_gradient_of_the_products_norm():
    by_hand, by_autograd = layer(), layer()
    frobenius_decay(by_hand, 0.3)
    p, q = by_autograd.factors()
    (0.15 * (p @ q).square().sum()).backward()
    for mine, other in zip(by_hand.parameters(), by_autograd.parameters(), strict=True):
        if other.grad is not None:
            assert torch.allclose(mine.grad, other.grad)


def test_spectral_decay_points_along_the_first_singular_pair():
    module = layer()
    spectral_decay(module, 0.5, power_iterations=200)
    for gradient, factor in zip(as_matrices(module), module.factors(), strict=True):
        u, _, vh = torch.linalg.svd(factor.detach(), full_matrices=False)
        assert torch.allclose(gradient, 0.5 * torch.outer(u[:, 0], vh[0]), atol=1e-6)


def test_a_step_of_spectral_decay_trims_the_first_singular_value():
    module = layer()
    before = [torch.linalg.svdvals(f)[:2].tolist() for f in module.factors()]
    spectral_decay(module, 0.1, power_iterations=50)
    with torch.no_grad():
        for parameter in (module.vertical.weight, module.horizontal.weight):
            parameter -= parameter.grad
    after = [torch.linalg.svdvals(f)[0].item() for f in module.factors()]
    expected = [max(first - 0.1, second) for first, second in before]
    assert after == pytest.approx(expected, abs=0.02)


def test_decays_add_to_what_is_there():
    module = layer()
    module(torch.randn(1, 6, 8, 8, dtype=torch.float64)).sum().backward()
    before = module.vertical.weight.grad.clone()
    frobenius_decay(module, 0.1)
    alone = layer()
    frobenius_decay(alone, 0.1)
    assert torch.allclose(module.vertical.weight.grad, before + alone.vertical.weight.grad)


def test_schedules_begin_and_end_where_they_should():
    ends = {name: (weight_at(1, 100, 0.4, name), weight_at(100, 100, 0.4, name)) for name in schedule_names()}
    assert ends["constant"] == (0.4, 0.4)
    assert ends["ramp"] == (0.0, 0.4)
    assert ends["cosine"] == pytest.approx((0.4, 0.0))
    assert weight_at(1, 1, 0.4, "ramp") == 0


def test_spectral_init_has_the_first_directions_of_a_dense_kernel():
    module = SFConv2d(16, 24, 3, rank=10).spectral_init(torch.Generator().manual_seed(3))
    kernel = torch.randn(24, 16, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    conv = nn.Conv2d(16, 24, 3).double()
    with torch.no_grad():
        conv.weight.copy_(kernel * math.sqrt(2 / (16 * 9)))
    expected = SFConv2d.from_conv(conv, 10).merge().weight
    assert torch.allclose(module.merge().weight.double(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: weight_at(1, 2, 0.1, "step"), "constant, ramp, cosine"),
        (lambda: weight_at(1, 2, -1), "not negative"),
        (lambda: weight_at(1, 2, math.nan), "finite"),
        (lambda: frobenius_decay(nn.Linear(2, 2)), "no SFConv2d"),
        (lambda: spectral_decay([]), "no SFConv2d"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(UsageError, match=words):
        call()
