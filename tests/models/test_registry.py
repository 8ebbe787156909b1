from __future__ import annotations

import pytest
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.models import CoordGateUNet, Factorizer, ResNet18, SmallUNet, UNet, build_model, model_names, register


def test_built_in_networks_have_their_names() -> None:
    assert model_names() == ["coordgate-unet", "factorizer", "sfconv-resnet18", "sfconv-unet", "small-unet"]


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("coordgate-unet", {"levels": 2, "height": 8, "width": 8}, CoordGateUNet),
        ("factorizer", {"widths": (8,)}, Factorizer),
        ("sfconv-resnet18", {"rank_scale": 0.05}, ResNet18),
        ("sfconv-unet", {"rank_scale": 0.05}, UNet),
        ("small-unet", {"widths": (4, 8)}, SmallUNet),
    ],
)
def test_name_builds_its_network_with_the_options(name: str, options: dict[str, object], kind: type[nn.Module]) -> None:
    assert type(build_model(name, **options)) is kind


def test_unknown_name_is_refused_with_the_near_ones() -> None:
    with pytest.raises(UsageError, match=r"no model named 'smal-unet'\. Did you mean small-unet"):
        build_model("smal-unet")


def test_name_unlike_any_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=f"There are: {', '.join(model_names())}"):
        build_model("zzz")


def test_name_that_is_taken_is_refused() -> None:
    with pytest.raises(UsageError, match="a model named 'small-unet' already"):
        register("small-unet")(nn.Identity)
    assert type(build_model("small-unet", widths=(4,))) is SmallUNet
