from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers import SFConv2d
from edgeconv.models import UNet, count_macs, count_parameters

TABLE = [
    (None, 17_267_393, 39.980),
    (1.0, 9_954_908, 22.190),
    (0.5, 4_984_211, 11.104),
    (0.25, 2_498_762, 5.554),
    (0.125, 1_256_138, 2.786),
    (0.1, 1_008_074, 2.204),
    (0.05, 515_594, 39.980 / 36.5),
    (0.04, 403_082, 39.980 / 42.7),
]


@pytest.mark.parametrize(("rank_scale", "parameters", "gmacs"), TABLE)
def test_parameters_and_macs_are_those_of_the_table(rank_scale: float | None, parameters: int, gmacs: float) -> None:
    with torch.device("meta"):
        model = UNet(rank_scale=rank_scale)
    assert count_parameters(model) == parameters
    assert count_macs(model, (1, 3, 256, 256)) / 1e9 == pytest.approx(gmacs, abs=6e-4 if gmacs > 2 else 2e-3)


def test_every_3x3_convolution_is_factored_and_the_head_is_dense() -> None:
    with torch.device("meta"):
        model = UNet(rank_scale=0.25)
    factored = [module for module in model.modules() if isinstance(module, SFConv2d)]
    assert len(factored) == 18
    assert {layer.kernel_size for layer in factored} == {(3, 3)}
    dense = [m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and not name.endswith("al")]
    assert dense == [model.head]


def test_output_has_the_size_of_the_image() -> None:
    model = UNet(in_channels=2, out_channels=3, rank_scale=0.04).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 2, 32, 48)).shape == (1, 3, 32, 48)


def test_size_that_cannot_be_halved_is_refused_with_the_next_one() -> None:
    with torch.device("meta"):
        model = UNet(rank_scale=0.04)
    with pytest.raises(ModelError, match=r"multiples of 16 pixels, found 40x64\. The next larger size is 48x64"):
        model(torch.empty(1, 3, 40, 64, device="meta"))


@pytest.mark.parametrize("rank_scale", [0.0, -1.0, 4.0])
def test_rank_scale_out_of_range_is_refused(rank_scale: float) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match="rank"):
        UNet(rank_scale=rank_scale)
