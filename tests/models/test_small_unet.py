from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers import CoordGate2d, SFConv2d
from edgeconv.models import SmallUNet


def parts(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def test_it_has_pairs_norms_and_gates_under_telling_names() -> None:
    model = SmallUNet(widths=(4, 8, 12), height=16, width=24)
    blocks = ["encoder.0", "encoder.1", "bottleneck", "decoder.0", "decoder.1"]
    assert parts(model, SFConv2d) == [f"{block}.conv{k}" for block in blocks for k in (1, 2)]
    assert parts(model, nn.BatchNorm2d) == [f"{block}.norm{k}" for block in blocks for k in (1, 2)]
    assert parts(model, CoordGate2d) == [f"{block}.gate" for block in blocks]
    assert parts(model, nn.ConvTranspose2d) == ["up.0", "up.1"]


def test_ranks_follow_the_scale_and_are_at_least_one() -> None:
    model = SmallUNet(widths=(16, 32), height=8, width=8, rank_scale=0.75)
    ranks = {name: module.rank for name, module in model.named_modules() if isinstance(module, SFConv2d)}
    assert ranks == {
        "encoder.0.conv1": 1,
        "encoder.0.conv2": 12,
        "bottleneck.conv1": 12,
        "bottleneck.conv2": 24,
        "decoder.0.conv1": 12,
        "decoder.0.conv2": 12,
    }


@pytest.mark.parametrize("options", [{}, {"gates": False}, {"factored": False}, {"residual": True}])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_output_has_the_size_of_the_image(options: dict[str, bool], levels: int) -> None:
    model = SmallUNet(1, 1, (4, 6, 8, 10)[:levels], 16, 24, **options).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 1, 16, 24)).shape == (2, 1, 16, 24)


def test_options_leave_gates_or_factors_out() -> None:
    assert not parts(SmallUNet(widths=(4, 8), height=8, width=8, gates=False), CoordGate2d)
    assert not parts(SmallUNet(widths=(4, 8), height=8, width=8, factored=False), SFConv2d)


def test_residual_network_adds_its_correction_to_the_image() -> None:
    model = SmallUNet(widths=(4, 8), height=8, width=8, residual=True).eval()
    nn.init.zeros_(model.head.weight)
    nn.init.constant_(model.head.bias, 0.25)
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(model(x), x + 0.25)


def test_weights_fit_another_size() -> None:
    small, large = SmallUNet(widths=(4, 8), height=8, width=8), SmallUNet(widths=(4, 8), height=32, width=16)
    large.load_state_dict(small.state_dict())


def test_network_without_gates_takes_every_divisible_size() -> None:
    model = SmallUNet(widths=(4, 8), height=8, width=8, gates=False).eval()
    assert model(torch.zeros(1, 1, 10, 6)).shape == (1, 1, 10, 6)


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    model = SmallUNet(widths=(4, 8), height=16, width=16)
    model(torch.randn(2, 1, 16, 16)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_exported_program_computes_the_same() -> None:
    torch.manual_seed(0)
    model = SmallUNet(widths=(4, 8), height=16, width=24).eval()
    x = torch.randn(1, 1, 16, 24)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


@pytest.mark.parametrize("size", [(18, 16), (16, 2), (0, 16)])
def test_size_that_cannot_be_halved_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match=rf"3 levels needs sides that are multiples of 4 pixels, found {size[0]}x"):
        SmallUNet(widths=(4, 8, 12), height=size[0], width=size[1])


def test_image_that_cannot_be_halved_is_refused() -> None:
    model = SmallUNet(widths=(4, 8), height=8, width=8, gates=False)
    with pytest.raises(ModelError, match="multiples of 2 pixels, found 9x8"):
        model(torch.zeros(1, 1, 9, 8))


def test_residual_network_with_other_output_channels_is_refused() -> None:
    with pytest.raises(UsageError, match="as many output channels as input channels, found 1 and 3"):
        SmallUNet(3, 1, residual=True)


def test_network_without_levels_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one level"):
        SmallUNet(widths=())
