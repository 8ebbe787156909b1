from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.layers import SFConv2d, spectrum_kl, sve_loss


def orthonormal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, dtype=torch.float64)).Q


def with_spectrum(sigma: list[float], rows: int = 12) -> Tensor:
    count = len(sigma)
    return orthonormal(rows, count) @ torch.diag(torch.tensor(sigma, dtype=torch.float64)) @ orthonormal(count, count)


spectra = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8)


@given(sigma=spectra, normaliser=st.sampled_from(["l1", "energy"]))
@settings(deadline=None)
def test_kl_lies_between_zero_and_the_logarithm_of_the_rank(sigma: list[float], normaliser: str) -> None:
    torch.manual_seed(0)
    kl = float(spectrum_kl(with_spectrum(sigma), normaliser=normaliser))  # type: ignore[arg-type]
    assert -1e-9 <= kl <= math.log(len(sigma)) + 1e-9


@given(sigma=spectra)
@settings(deadline=None)
def test_kl_is_that_of_the_normalised_singular_values(sigma: list[float]) -> None:
    torch.manual_seed(0)
    p = torch.tensor(sigma, dtype=torch.float64) / sum(sigma)
    uniform = torch.full_like(p, 1 / len(sigma))
    forward = nn.functional.kl_div(uniform.log(), p, reduction="sum")
    reverse = nn.functional.kl_div(p.log(), uniform, reduction="sum")
    matrix = with_spectrum(sigma)
    torch.testing.assert_close(spectrum_kl(matrix), forward, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(spectrum_kl(matrix, direction="reverse"), reverse, rtol=1e-6, atol=1e-8)


@given(scale=st.floats(1e-3, 1e3), count=st.integers(1, 8))
@settings(deadline=None)
def test_kl_is_zero_where_all_singular_values_are_equal(scale: float, count: int) -> None:
    torch.manual_seed(0)
    matrix = scale * orthonormal(12, count)
    for normaliser in ("l1", "energy", "softmax"):
        assert abs(float(spectrum_kl(matrix, normaliser=normaliser))) < 1e-9  # type: ignore[arg-type]


def test_kl_is_positive_where_they_differ() -> None:
    assert float(spectrum_kl(with_spectrum([1.0, 1.01, 1.0]))) > 1e-7


@given(sigma=spectra, scale=st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_kl_does_not_change_when_the_matrix_is_scaled_or_rotated(sigma: list[float], scale: float) -> None:
    torch.manual_seed(0)
    matrix = with_spectrum(sigma)
    other = scale * orthonormal(12, 12) @ matrix @ orthonormal(len(sigma), len(sigma))
    torch.testing.assert_close(spectrum_kl(other), spectrum_kl(matrix), rtol=1e-7, atol=1e-9)


def test_softmax_normaliser_depends_on_the_scale() -> None:
    matrix = with_spectrum([1.0, 2.0, 3.0])
    for scale in (1.0, 10.0):
        p = torch.softmax(scale * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), dim=0)
        assert float(spectrum_kl(scale * matrix, normaliser="softmax")) == pytest.approx(
            float((p * (3 * p).log()).sum())
        )


def test_gradient_is_the_closed_form() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(24, 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectrum_kl(matrix), matrix)
    u, s, vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
    p = s / s.sum()
    entropy = -(p * p.log()).sum()
    expected = u @ torch.diag((p.log() + entropy) / s.sum()) @ vh
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("normaliser", ["l1", "energy", "softmax"])
def test_gradient_agrees_with_finite_differences(normaliser: str, direction: str) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m: spectrum_kl(m, normaliser=normaliser, direction=direction),  # type: ignore[arg-type]
        (matrix,),
    )


@pytest.mark.parametrize(
    "matrix", [torch.eye(8, 5), torch.zeros(8, 5), torch.ones(8, 5)], ids=["optimum", "zero", "one direction"]
)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_loss_and_gradient_are_finite_at_degenerate_spectra(matrix: Tensor, direction: str) -> None:
    leaf = matrix.clone().requires_grad_()
    loss = spectrum_kl(leaf, direction=direction)  # type: ignore[arg-type]
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()


def test_reverse_direction_stays_below_the_floors_logarithm_when_a_value_vanishes() -> None:
    matrix = with_spectrum([1.0, 1.0, 0.0])
    reverse = float(spectrum_kl(matrix, direction="reverse", floor=1e-6))
    expected = -math.log(3) - (2 * math.log(0.5) + math.log(1e-6)) / 3
    assert reverse == pytest.approx(expected)


def test_gradient_descent_on_the_divergence_alone_decreases_it_monotonically() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(16, 6, dtype=torch.float64, requires_grad=True)
    values = []
    for _ in range(60):
        loss = spectrum_kl(matrix)
        (gradient,) = torch.autograd.grad(loss, matrix)
        values.append(float(loss.detach()))
        matrix = (matrix.detach() - 2.0 * gradient).requires_grad_()
    assert all(after < before for before, after in itertools.pairwise(values))
    assert values[-1] < 0.5 * values[0]


def test_flat_factors_leave_the_spectrum_of_their_product_free() -> None:
    torch.manual_seed(0)
    p, q = with_spectrum([1.0, 1.0, 1.1, 1.1]), with_spectrum([1.0, 1.0, 1.1, 1.1]).T
    sigma = torch.linalg.svdvals(p @ q)[:4]
    assert 1.0 < float(sigma[0] / sigma[-1]) <= 1.1**2 + 1e-9


@pytest.mark.parametrize(
    ("shape", "expected", "tolerance"),
    [((192, 16), 0.013, 0.003), ((192, 32), 0.0226, 0.003), ((192, 64), 0.051, 0.005), ((192, 192), 0.222, 0.02)],
)
def test_kl_of_gaussian_factors_is_the_baseline(shape: tuple[int, int], expected: float, tolerance: float) -> None:
    torch.manual_seed(0)
    assert float(spectrum_kl(torch.randn(shape))) == pytest.approx(expected, abs=tolerance)


def test_fresh_layer_stands_at_the_gaussian_baseline_of_both_factors() -> None:
    torch.manual_seed(0)
    loss = sve_loss(SFConv2d(64, 64, 3, rank=32))
    assert float(loss.detach()) == pytest.approx(2 * 0.0226, abs=0.006)


def test_loss_is_the_mean_over_layers_of_both_factors() -> None:
    torch.manual_seed(0)
    layers = [SFConv2d(8, 8, 3, rank=4), SFConv2d(4, 6, 5, rank=3)]
    expected = sum(spectrum_kl(factor) for layer in layers for factor in layer.factors()) / 2
    torch.testing.assert_close(sve_loss(layers), expected)
    torch.testing.assert_close(sve_loss(nn.Sequential(layers[0], nn.ReLU(), nn.ModuleList([layers[1]]))), expected)


def test_loss_trains_both_factors_and_nothing_else() -> None:
    layer = SFConv2d(8, 8, 3, rank=4)
    sve_loss(layer).backward()  # type: ignore[no-untyped-call]
    assert layer.horizontal.weight.grad is not None
    assert layer.vertical.weight.grad is not None
    assert layer.vertical.bias is not None
    assert layer.vertical.bias.grad is None


def test_loss_refuses_a_model_without_factors() -> None:
    with pytest.raises(UsageError, match="no SFConv2d"):
        sve_loss(nn.Conv2d(3, 3, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normaliser": "l2"}, "normaliser must be one of l1, energy, softmax, found 'l2'"),
        ({"direction": "both"}, "direction must be one of forward, reverse, found 'both'"),
        ({"floor": 0.0}, "floor must lie between 0 and 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spectrum_kl(torch.eye(3), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="expected a matrix"):
        spectrum_kl(torch.ones(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_factor_that_is_not_finite_is_refused(value: float) -> None:
    matrix = torch.eye(3)
    matrix[0, 1] = value
    with pytest.raises(UsageError, match="not finite"):
        spectrum_kl(matrix)
