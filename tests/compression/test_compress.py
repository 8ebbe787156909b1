from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.compression import compress
from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.sfconv import SFConv2d


class Net(nn.Module):
    """Two convolutions of low rank, one with stride, a depthwise and a 1x1 head."""

    def __init__(self, rank=3):
        super().__init__()
        torch.manual_seed(0)
        self.first = SFConv2d(8, 12, 3, padding=1, rank=rank).merge()
        self.down = SFConv2d(12, 16, 3, stride=2, padding=1, rank=rank).merge()
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        return self.head(torch.relu(self.depthwise(torch.relu(self.down(torch.relu(self.first(x)))))))


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.conv(x)


def samples(count=3, channels=8):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(1, channels, 16, 20, generator=generator),) for _ in range(count)]


@pytest.mark.parametrize("data_aware", [False, True])
def test_a_kernel_of_low_rank_is_found_and_nothing_is_lost(data_aware):
    compressed, report = compress(Net().eval(), samples(), energy=1 - 1e-9, data_aware=data_aware)
    assert {layer.name: layer.rank for layer in report.layers} == {
        "first": 3,
        "down": 3,
        "depthwise": None,
        "head": None,
    }
    assert report.output_sqnr_db > 100
    assert isinstance(compressed.first, SFConv2d)
    assert isinstance(compressed.depthwise, nn.Conv2d)


def test_counts_are_those_of_the_modules():
    dense = Net().eval()
    compressed, report = compress(dense, samples(), energy=1 - 1e-9)
    assert report.parameters_before == sum(p.numel() for p in dense.parameters())
    assert report.parameters_after == sum(p.numel() for p in compressed.parameters())
    first = report.layers[0]
    assert first.macs_before == 16 * 20 * 8 * 12 * 9
    assert first.macs_after == 3 * 16 * 20 * (8 * 3 + 12 * 3)
    down = report.layers[1]
    assert down.macs_before == 8 * 10 * 12 * 16 * 9
    assert down.macs_after == 3 * (16 * 10 * 12 * 3 + 8 * 10 * 16 * 3)  # the horizontal step keeps all rows


def test_the_model_itself_is_left_alone():
    dense = Net().eval()
    before = {name: value.clone() for name, value in dense.state_dict().items()}
    compress(dense, samples(), budget=0.4, finetune_steps=2)
    assert all(torch.equal(before[name], value) for name, value in dense.state_dict().items())
    assert isinstance(dense.first, nn.Conv2d)


def full_rank():
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1)).eval()


def skewed(count=4):
    """Inputs whose channels are nearly two mixtures: real activations are never white."""
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(8, 2, generator=generator)
    return [
        (torch.einsum("cm,bmhw->bchw", mixing, torch.randn(1, 2, 16, 16, generator=generator)),) for _ in range(count)
    ]


def test_data_aware_factors_lose_less_of_what_is_really_computed():
    found = {
        aware: compress(full_rank(), skewed(), budget=0.5, data_aware=aware)[1].output_sqnr_db
        for aware in (False, True)
    }
    assert found[True] > found[False] + 3


def test_fine_tuning_brings_the_output_nearer():
    plain = compress(full_rank(), skewed(), budget=0.4)[1]
    tuned = compress(full_rank(), skewed(), budget=0.4, finetune_steps=60)[1]
    assert tuned.macs_after == plain.macs_after
    assert tuned.output_sqnr_db > plain.output_sqnr_db + 0.5  # on samples that it was not tuned to
    assert tuned.finetuned_steps == 60


def test_a_budget_is_for_the_whole_model():
    _, report = compress(Net(rank=8).eval(), samples(), budget=0.6)
    assert report.macs_after <= 0.6 * report.macs_before


def test_a_multiple_rounds_ranks():
    _, report = compress(full_rank(), samples(), energy=0.5, multiple=4)
    assert all(layer.rank is None or layer.rank % 4 == 0 for layer in report.layers)


def test_layers_that_cannot_win_say_why():
    _, report = compress(Net().eval(), samples(), energy=0.9)
    reasons = {layer.name: layer.reason for layer in report.layers}
    assert reasons["depthwise"] == "16 groups"
    assert "saves nothing" in reasons["head"]
    assert reasons["first"] == ""


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: compress(Net().eval(), samples(), energy=0.9, budget=0.5), UsageError, "not both"),
        (lambda: compress(Net().eval(), samples()), UsageError, "either an energy"),
        (lambda: compress(Net().eval(), [], energy=0.9), UsageError, "No sample"),
        (lambda: compress(Net().eval(), samples(), energy=0.9, multiple=0), UsageError, "multiple"),
        (lambda: compress(Net().eval(), samples(), budget=0.01), UsageError, "cannot be met"),
        (lambda: compress(nn.ReLU(), samples(), energy=0.9), ModelError, "no Conv2d"),
        (lambda: compress(Tiny().eval(), samples(channels=1), energy=0.9), UsageError, "win in none"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
