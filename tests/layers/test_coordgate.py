from __future__ import annotations

import io
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers import CoordGate2d, coordinate_grid, tile_coordinates


def rank(matrix: Tensor) -> int:
    return int(torch.linalg.matrix_rank(matrix.detach().double(), rtol=1e-5))


def channel_rank(gate: CoordGate2d) -> int:
    return rank(gate.gate_map().flatten(2)[0])


def test_coordinates_span_the_image_with_end_points_and_the_row_first() -> None:
    grid = coordinate_grid(3, 5)
    assert grid.shape == (3, 5, 2)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[2, 0].tolist() == [1, -1]
    assert grid[0, 4].tolist() == [-1, 1]
    assert grid[1, 3].tolist() == [0, 0.5]


def test_output_is_the_projection_of_the_gated_image() -> None:
    torch.manual_seed(0)
    gate = CoordGate2d(4, 6, 9, out_channels=3)
    x = torch.randn(2, 4, 6, 9)
    g = torch.empty(4, 6, 9)
    for i in range(6):
        for j in range(9):
            g[:, i, j] = gate.encoder(torch.tensor([2 * i / 5 - 1, 2 * j / 8 - 1]))
    expected = nn.functional.conv2d(x * g, gate.project.weight, gate.project.bias)
    assert gate(x).shape == (2, 3, 6, 9)
    torch.testing.assert_close(gate(x), expected)
    torch.testing.assert_close(gate.gate_map()[0], g)


def test_effective_kernel_at_a_pixel_is_the_gated_sum_of_the_filters() -> None:
    torch.manual_seed(0)
    filters = nn.Conv2d(1, 5, 3, padding=1, bias=False)
    gate = CoordGate2d(5, 8, 10, out_channels=1)
    x = torch.randn(1, 1, 8, 10)
    y = gate(filters(x)) - gate.project.bias
    row, column = 3, 6
    kernel = torch.einsum(
        "c,c,cij->ij",
        gate.project.weight[0, :, 0, 0],
        gate.gate_map()[0, :, row, column],
        filters.weight[:, 0],
    )
    patch = x[0, 0, row - 1 : row + 2, column - 1 : column + 2]
    torch.testing.assert_close(y[0, 0, row, column], (kernel * patch).sum())


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_tiles_equal_the_whole_image_when_given_their_coordinates(height: int, width: int, data: st.DataObject) -> None:
    torch.manual_seed(0)
    gate = CoordGate2d(3, height, width, hidden_width=8).double()
    x = torch.randn(1, 3, height, width, dtype=torch.float64)
    whole = gate(x)
    row, column = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    tiled = torch.empty_like(whole)
    for top, bottom in ((0, row), (row, height)):
        for left, right in ((0, column), (column, width)):
            if top < bottom and left < right:
                coordinates = tile_coordinates((height, width), top, left, bottom - top, right - left)
                tiled[..., top:bottom, left:right] = gate(x[..., top:bottom, left:right], coordinates)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-14)


def test_tile_coordinates_are_those_of_the_whole_to_the_last_bit() -> None:
    assert torch.equal(tile_coordinates((37, 53), 5, 11, 20, 30), coordinate_grid(37, 53)[5:25, 11:41])


def test_gate_of_a_tile_at_the_wrong_place_is_another() -> None:
    gate = CoordGate2d(3, 8, 8)
    right = gate.gate_map(tile_coordinates((8, 8), 4, 4, 4, 4))
    assert not torch.allclose(gate.gate_map(coordinate_grid(4, 4)), right)


@pytest.mark.parametrize(("top", "left", "height", "width"), [(-1, 0, 4, 4), (5, 0, 4, 4), (0, 6, 4, 4), (0, 0, 0, 4)])
def test_tile_that_leaves_the_image_is_refused(top: int, left: int, height: int, width: int) -> None:
    with pytest.raises(UsageError, match="does not lie in an image of 8x8"):
        tile_coordinates((8, 8), top, left, height, width)


def test_affine_preset_has_rank_three_across_channels_and_two_over_the_image() -> None:
    torch.manual_seed(0)
    gate = CoordGate2d.affine(16, 12, 20)
    assert channel_rank(gate) == 3
    assert rank(gate.gate_map()[0, 5]) == 2


def test_hidden_activations_give_full_rank_across_channels() -> None:
    torch.manual_seed(0)
    assert channel_rank(CoordGate2d(16, 32, 32)) == 16


def test_late_affine_preset_is_piecewise_linear_and_never_negative() -> None:
    torch.manual_seed(0)
    gate = CoordGate2d.affine(16, 32, 32, version="2023-11")
    nn.init.normal_(gate.encoder.linear3.bias)
    assert float(gate.gate_map().detach().min()) == 0
    assert 3 < channel_rank(gate) <= 16


@pytest.mark.parametrize(
    ("channels", "encoder", "project"), [(32, 6_432, 1_056), (64, 8_512, 4_160), (128, 12_672, 16_512)]
)
def test_parameters_are_those_of_the_dossier(channels: int, encoder: int, project: int) -> None:
    gate = CoordGate2d(channels, 4, 4)
    assert sum(p.numel() for p in gate.encoder.parameters()) == encoder
    assert sum(p.numel() for p in gate.project.parameters()) == project
    early = CoordGate2d.affine(channels, 4, 4)
    assert sum(p.numel() for p in early.encoder.parameters()) == encoder
    late = CoordGate2d.affine(channels, 4, 4, version="2023-11")
    assert sum(p.numel() for p in late.encoder.parameters()) == 3 * channels + 2 * (channels**2 + channels)


def test_no_gate_is_dead_at_the_start_behind_a_relu() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        gate = CoordGate2d(64, 16, 16, hidden_width=32, out_act="relu")
        assert (gate.gate_map().amax(dim=(0, 2, 3)) > 0).all()


def test_sigmoid_gate_lies_between_zero_and_one() -> None:
    gate_map = CoordGate2d(8, 5, 5, out_act="sigmoid").gate_map().detach()
    assert 0 < float(gate_map.min()) < float(gate_map.max()) < 1


def test_one_layer_encoder_has_no_hidden_activation() -> None:
    gate = CoordGate2d(4, 5, 5, depth=1)
    assert [type(layer) for layer in gate.encoder] == [nn.Linear]


def test_weights_fit_every_size_because_coordinates_are_not_in_the_state_dict() -> None:
    small, large = CoordGate2d(4, 5, 7), CoordGate2d(4, 64, 32)
    assert not [name for name in small.state_dict() if "coordinates" in name]
    large.load_state_dict(small.state_dict())
    torch.testing.assert_close(large.gate_map()[0, :, -1, 0], small.gate_map()[0, :, -1, 0])


def test_resize_gives_the_gate_of_the_other_size() -> None:
    gate = CoordGate2d(4, 5, 7).double()
    state = gate.state_dict()
    fresh = CoordGate2d(4, 6, 3).double()
    fresh.load_state_dict(state)
    assert gate.resize(6, 3) is gate
    assert gate.size == (6, 3)
    torch.testing.assert_close(gate.gate_map(), fresh.gate_map())


@pytest.mark.parametrize("size", [(7, 5), (5, 8), (10, 14)])
def test_image_of_another_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match=rf"images of 5x7 pixels here, found {size[0]}x{size[1]}"):
        CoordGate2d(4, 5, 7)(torch.zeros(1, 4, *size))


def test_tile_whose_coordinates_have_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="images of 2x3 pixels here, found 3x2"):
        CoordGate2d(4, 5, 7)(torch.zeros(1, 4, 3, 2), coordinate_grid(2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be a positive integer"),
        ({"height": 0}, "height must be a positive integer"),
        ({"width": 2.5}, "width must be a positive integer"),
        ({"out_channels": -1}, "out_channels must be a positive integer"),
        ({"hidden_width": 0}, "hidden_width must be a positive integer"),
        ({"depth": 0}, "depth must be a positive integer"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'relu' or 'none', found 'gelu'"),
        ({"out_act": "tanh"}, "out_act must be 'none', 'relu' or 'sigmoid', found 'tanh'"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CoordGate2d(**{"channels": 4, "height": 5, "width": 7, **options})  # type: ignore[arg-type]


def test_unknown_version_of_the_affine_preset_is_refused() -> None:
    with pytest.raises(UsageError, match="version must be '2023-05' or '2023-11'"):
        CoordGate2d.affine(4, 5, 7, version="2022")  # type: ignore[arg-type]


def test_gate_keeps_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    gate = CoordGate2d(4, 300, 8)
    x = torch.randn(1, 4, 300, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gate(x)
    expected = nn.functional.conv2d(x * gate.gate_map().bfloat16(), gate.project.weight.bfloat16(), None)
    assert mixed.dtype == torch.bfloat16
    bias = gate.project.bias.detach().view(1, -1, 1, 1)
    torch.testing.assert_close(mixed.float(), expected.float() + bias, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("hidden_act", "out_act"), [("relu", "relu"), ("none", "sigmoid")])
def test_exported_program_survives_a_file_and_computes_the_same(hidden_act: str, out_act: str) -> None:
    gate = CoordGate2d(4, 6, 10, hidden_act=hidden_act, out_act=out_act).eval()  # type: ignore[arg-type]
    x = torch.randn(1, 4, 6, 10)
    stream = io.BytesIO()
    torch.export.save(torch.export.export(gate, (x,)), stream)
    stream.seek(0)
    torch.testing.assert_close(torch.export.load(stream).module()(x), gate(x))


@pytest.mark.slow
def test_varying_blur_is_learnt_by_gates_where_deeper_networks_and_affine_gates_fail() -> None:
    """The one-dimensional experiment: a 9-tap Gaussian whose width grows from 0.6 to 2.4 along the line."""
    gated = _GatedFilters("relu")
    assert _error_after_training(gated) < 1e-3
    assert _error_after_training(_GatedFilters("none")) > 5e-3
    deep = [nn.Conv2d(1 if k == 0 else 32, 32, (1, 9), padding=(0, 4)) for k in range(4)]
    layers: list[nn.Module] = [module for conv in deep for module in (conv, nn.ReLU())]
    network = nn.Sequential(*layers, nn.Conv2d(32, 1, 1))
    assert sum(p.numel() for p in network.parameters()) > 15 * sum(p.numel() for p in gated.parameters())
    assert _error_after_training(network) > 1e-2


_LINE = 128


class _GatedFilters(nn.Module):
    def __init__(self, hidden_act: Literal["relu", "none"]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.filters = nn.Conv2d(1, 9, (1, 9), padding=(0, 4))
        self.gate = CoordGate2d(9, 1, _LINE, out_channels=1, hidden_width=32, hidden_act=hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.filters(x))  # type: ignore[no-any-return]


def _error_after_training(network: nn.Module, steps: int = 1500) -> float:
    """Mean squared error on fresh white noise, as a share of the target's variance."""
    torch.manual_seed(0)
    width = torch.linspace(0.6, 2.4, _LINE)[:, None]
    kernels = torch.exp(-((torch.arange(-4.0, 5.0) / width) ** 2) / 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(size, 1, 1, _LINE)
        return x, (nn.functional.pad(x, (4, 4)).unfold(3, 9, 1) * kernels).sum(-1)

    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x, target = batch(64)
        loss = (network(x) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        x, target = batch(512)
        return float((network(x) - target).square().mean() / target.var())
