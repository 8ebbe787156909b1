from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.layers import SFConv2d
from edgeconv.models import ResNet18, count_macs, count_parameters


@pytest.mark.parametrize(
    ("rank_scale", "parameters"),
    [
        (None, 11_178_051),
        (0.5, 3_673_901),
        (0.25, 1_842_520),
        (0.125, 927_064),
        (0.1, 745_048),
        (0.05, 381_016),
    ],
)
def test_parameters_are_those_of_the_table(rank_scale: float | None, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(ResNet18(rank_scale=rank_scale)) == parameters


def test_dense_network_has_the_well_known_number_of_macs() -> None:
    with torch.device("meta"):
        model = ResNet18(classes=1000, rank_scale=None)
    assert count_macs(model, (1, 3, 224, 224)) == 1_814_073_344


def test_every_convolution_is_factored_the_stem_and_the_shortcuts_included() -> None:
    with torch.device("meta"):
        model = ResNet18(rank_scale=0.25)
    factored = {name: module for name, module in model.named_modules() if isinstance(module, SFConv2d)}
    assert len(factored) == 20
    assert factored["stem.conv"].kernel_size == (7, 7)
    assert [name for name in factored if "shortcut" in name] == [f"stages.{k}.0.shortcut.conv" for k in (1, 2, 3)]
    assert all(layer.vertical.bias is None for layer in factored.values())


@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
def test_output_is_a_logit_for_each_class(size: tuple[int, int]) -> None:
    model = ResNet18(in_channels=1, classes=7, rank_scale=0.05).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 1, *size)).shape == (2, 7)


def test_shortcut_is_the_identity_where_the_shape_stays() -> None:
    model = ResNet18(rank_scale=0.05)
    assert isinstance(model.stages[0][0].shortcut, nn.Identity)
    assert isinstance(model.stages[1][1].shortcut, nn.Identity)
