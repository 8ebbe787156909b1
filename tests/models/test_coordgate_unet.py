from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers import CoordGate2d
from edgeconv.models import CoordGateUNet, count_parameters


def gates_of(model: nn.Module) -> dict[str, CoordGate2d]:
    return {name: module for name, module in model.named_modules() if isinstance(module, CoordGate2d)}


@pytest.mark.parametrize(
    ("levels", "plain", "encoders", "projections", "gated"),
    [
        (2, 402_113, 29_696, 24_832, 456_641),
        (3, 1_860_417, 63_360, 107_136, 2_030_913),
        (4, 7_693_377, 121_984, 435_584, 8_250_945),
        (5, 31_024_705, 230_528, 1_747_840, 33_003_073),
    ],
)
def test_parameters_are_those_of_the_table(
    levels: int, plain: int, encoders: int, projections: int, gated: int
) -> None:
    with torch.device("meta"):
        model = CoordGateUNet(levels=levels, height=64, width=64)
        assert count_parameters(CoordGateUNet(levels=levels, height=64, width=64, gates=False)) == plain
    gates = gates_of(model).values()
    assert len(gates) == 2 * (levels - 1) + 1
    assert sum(count_parameters(gate.encoder) for gate in gates) == encoders
    assert sum(count_parameters(gate.project) for gate in gates) == projections
    assert count_parameters(model) == gated


def test_gates_have_the_size_of_their_level() -> None:
    sizes = {name: gate.size for name, gate in gates_of(CoordGateUNet(levels=3, height=32, width=48)).items()}
    assert sizes == {
        "encoder.0.gate": (32, 48),
        "encoder.1.gate": (16, 24),
        "bottleneck.gate": (8, 12),
        "decoder.0.gate": (16, 24),
        "decoder.1.gate": (32, 48),
    }


@pytest.mark.parametrize("options", [{}, {"affine": True}, {"gates": False}, {"norm": True}])
def test_output_has_the_size_of_the_image(options: dict[str, bool]) -> None:
    model = CoordGateUNet(2, 3, levels=2, height=6, width=10, **options).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 2, 6, 10)).shape == (1, 3, 6, 10)


def test_affine_option_takes_the_encoder_without_activations() -> None:
    model = CoordGateUNet(levels=2, height=8, width=8, affine=True)
    kinds = {type(layer) for gate in gates_of(model).values() for layer in gate.encoder}
    assert kinds == {nn.Linear}


def test_image_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="images of 8x8 pixels here, found 16x8"):
        CoordGateUNet(levels=2, height=8, width=8)(torch.zeros(1, 1, 16, 8))


def test_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ModelError, match="multiples of 4 pixels, found 10x8"):
        CoordGateUNet(levels=3, height=10, width=8)


@pytest.mark.parametrize("levels", [0, 6, 2.5])
def test_number_of_levels_out_of_range_is_refused(levels: int) -> None:
    with pytest.raises(UsageError, match="levels must lie in 1 to 5"):
        CoordGateUNet(levels=levels)
