from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.coordgate import CoordGate2d
from edgeconv.models import CoordGateUNet, SmallUNet
from edgeconv.models.tiling import run_tiled


def gated(height=32, width=48):
    """One convolution of radius 1 and a strongly varying gate."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), CoordGate2d(4, height, width), nn.Conv2d(4, 2, 1)).eval()


def small_unet():
    torch.manual_seed(0)
    model = SmallUNet(1, 1, widths=(4, 8), height=64, width=96, rank_scale=0.5)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
    return model.eval()


@pytest.mark.parametrize("tile", [8, 13, 32, 100])
def test_tiles_give_the_whole_image(tile):
    x = torch.randn(2, 1, 32, 48)
    model = gated()
    assert torch.allclose(run_tiled(model, x, tile, 1), model(x), atol=1e-6)


@pytest.mark.parametrize(("build", "halo"), [(small_unet, 16), (lambda: CoordGateUNet(1, 1, 2, 64, 96).eval(), 16)])
def test_a_network_with_gates_at_every_level_is_exact(build, halo):
    model = build()
    x = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        whole = model(x)
    assert torch.allclose(run_tiled(model, x, 32, halo, alignment=2), whole, atol=1e-5)


def test_tiles_as_images_of_their_own_would_be_wrong():
    """What the coordinates are for: the same tiles with the gates of a small image differ."""
    x = torch.randn(1, 1, 32, 48)
    model = gated()
    whole = model(x)
    model[1].resize(16, 16)
    assert not torch.allclose(model(x[..., :16, :16])[..., :15, :15], whole[..., :15, :15], atol=1e-2)


def test_a_halo_below_the_receptive_field_shows_at_the_seams():
    x = torch.randn(1, 1, 32, 48)
    difference = (run_tiled(gated(), x, 16, 0) - gated()(x)).abs()
    assert float(difference[..., 15:17, :].detach().max()) > 1e-3
    assert float(difference[..., 2:14, 2:14].detach().max()) < 1e-6


def test_the_gates_are_as_before_afterwards():
    model = gated()
    run_tiled(model, torch.randn(1, 1, 32, 48), 16, 1)
    assert model[1].size == (32, 48)
    with pytest.raises(ModelError):
        run_tiled(nn.Sequential(model, nn.MaxPool2d(2)), torch.randn(1, 1, 32, 48), 16, 1)
    assert model[1].size == (32, 48)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0, 1), "no sense"), ((16, -1), "no sense"), ((15, 2), "multiples of 2"), ((16, 1), "multiples of 2")],
)
def test_sizes_that_do_not_fit_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        run_tiled(gated(), torch.randn(1, 1, 32, 48), *arguments, alignment=2)


def test_a_model_of_another_size_is_refused():
    with pytest.raises(ModelError, match="does not divide"):
        run_tiled(gated(), torch.randn(1, 1, 40, 48), 16, 1)
