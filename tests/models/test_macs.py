from __future__ import annotations

import torch
from torch import nn

from edgeconv.layers import SFConv2d
from edgeconv.models import count_macs, count_parameters


def test_strided_convolution_counts_its_outputs() -> None:
    assert count_macs(nn.Conv2d(4, 6, (3, 5), stride=2, padding=1), (2, 4, 9, 11)) == 2 * 6 * 5 * 5 * 4 * 3 * 5


def test_grouped_convolution_counts_the_channels_it_reads() -> None:
    assert count_macs(nn.Conv2d(8, 8, 3, groups=8), (1, 8, 10, 10)) == 8 * 8 * 8 * 9


def test_transposed_convolution_counts_its_inputs() -> None:
    assert count_macs(nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 7)) == 5 * 7 * 4 * 6 * 4


def test_linear_layer_counts_every_row() -> None:
    assert count_macs(nn.Linear(3, 5), (2, 7, 3)) == 2 * 7 * 3 * 5


def test_factored_convolution_runs_its_first_step_on_the_full_height() -> None:
    height, width, b, a, rank = 12, 16, 4, 8, 3
    expected = height * (width // 2) * rank * b * 3 + (height // 2) * (width // 2) * a * rank * 3
    assert count_macs(SFConv2d(b, a, 3, stride=2, padding=1, rank=rank), (1, b, height, width)) == expected


def test_layer_that_runs_twice_counts_twice_but_has_its_parameters_once() -> None:
    layer = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(layer, layer)
    assert count_macs(model, (1, 3, 8, 8)) == 2 * count_macs(layer, (1, 3, 8, 8))
    assert count_parameters(model) == 84


def test_the_model_itself_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_macs(model, (1, 3, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model[0]._forward_hooks
