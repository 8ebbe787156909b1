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
        (lambda: compress(Net().eval(), samples(), budget=0.0), UsageError, "budget of 0.0"),
        (lambda: compress(Net().eval(), samples(), budget=1.5), UsageError, "budget of 1.5"),
        (lambda: compress(Net().eval(), samples(), budget=float("nan")), UsageError, "budget of nan"),
        (lambda: compress(Net().eval(), [(float("inf") * samples()[0][0],)], energy=0.9), ModelError, "not finite"),
        (lambda: compress(Net().eval(), samples(), energy=0.9, multiple=0), UsageError, "multiple"),
        (lambda: compress(Net().eval(), samples(), budget=0.01), UsageError, "cannot be met"),
        (lambda: compress(nn.ReLU(), samples(), energy=0.9), ModelError, "no Conv2d"),
        (lambda: compress(Tiny().eval(), samples(channels=1), energy=0.9), UsageError, "win in none"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


class Twice(nn.Module):
    """A convolution under two names, and one that is called at two sizes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(8, 16, 3, padding=1)
        self.features = nn.Sequential(self.first, nn.ReLU())
        self.shared = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        x = self.shared(self.features(x))
        return self.shared(x[..., ::2, ::2]).relu().sum((2, 3)) + x.sum((2, 3))


def test_a_layer_of_two_names_is_replaced_under_both():
    compressed, report = compress(Twice().eval(), samples(), energy=0.5)
    assert compressed.features[0] is compressed.first
    assert isinstance(compressed.first, SFConv2d)
    assert report.parameters_after == sum(p.numel() for p in compressed.parameters())
    assert report.output_sqnr_db < 60


def test_a_layer_counts_as_often_as_it_is_called():
    _, report = compress(Twice().eval(), samples(), budget=0.5)
    counted = {layer.name: layer.macs_before for layer in report.layers}
    assert counted["shared"] == 16 * 16 * 9 * (16 * 20 + 8 * 10)
    assert report.macs_after <= 0.5 * report.macs_before


def test_a_model_that_is_one_convolution_is_replaced_itself():
    compressed, _ = compress(nn.Conv2d(8, 16, 3, padding=1).eval(), samples(), budget=0.5)
    assert isinstance(compressed, SFConv2d)


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, padding=self.padding)


def test_a_convolution_with_a_forward_of_its_own_stays_as_it_is():
    net = nn.Sequential(Standardised(8, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)).eval()
    compressed, report = compress(net, samples(), energy=0.5)
    assert report.layers[0].reason == "a forward of its own (Standardised)"
    assert type(compressed[0]) is Standardised


class Frozen(nn.Sequential):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def test_fine_tuning_without_a_gradient_is_refused():
    net = Frozen(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()).eval()
    with pytest.raises(ModelError, match="no gradient"):
        compress(net, samples(), budget=0.5, finetune_steps=2)


def test_fine_tuning_that_brings_nothing_leaves_the_factors(monkeypatch):
    monkeypatch.setattr("edgeconv.compression.finetune._LEARNING_RATE", 10.0)
    plain, _ = compress(full_rank(), skewed(), budget=0.4)
    tuned, report = compress(full_rank(), skewed(), budget=0.4, finetune_steps=3)
    assert report.finetuned_steps == 0
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), tuned.parameters(), strict=True))
