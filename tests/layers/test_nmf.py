"""The convergence table of the seeds, its bounds, and the traps of exported NMF."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.errors import UsageError
from edgeconv.layers.nmf import NMF, default_rank, nmf_flops

# Relative error after 0, 1, 2, 5, 20, 100 iterations of an 8 x 512 matrix, uniform on (0, 1); then the SVD bound.
TABLE = {
    ("hals", 1): ((0.763, 0.4665, 0.4664, 0.4664, 0.4664, 0.4664), 0.4664),
    ("hals", 2): ((0.676, 0.473, 0.442, 0.429, 0.4255, 0.4244), 0.4241),
    ("hals", 4): ((1.13, 0.452, 0.397, 0.362, 0.345, 0.340), 0.337),
    ("mu", 2): ((0.809, 0.480, 0.468, 0.451, 0.432, 0.428), 0.425),
}
STEPS = (0, 1, 2, 5, 20, 100)


def uniform(seed, rows=8, columns=512, batch=()):
    return torch.rand(*batch, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative_error(x, layer):
    return float((layer(x) - x).norm() / x.norm())


def svd_bound(x, rank):
    sigma = torch.linalg.svdvals(x)
    return float(sigma[rank:].norm() / sigma.norm())


@pytest.mark.parametrize(("solver", "rank"), TABLE)
def test_the_convergence_table(solver, rank):
    """The table is of one matrix; what repeats from matrix to matrix is the distance to the matrix's own bound."""
    expected, table_bound = TABLE[solver, rank]
    x = uniform(0, batch=(6,))
    sigma = torch.linalg.svdvals(x)
    bounds = sigma[:, rank:].norm(dim=1) / sigma.norm(dim=1)
    assert float(bounds.mean()) == pytest.approx(table_bound, abs=0.01)

    def mean_excess(steps):
        errors = []
        seeds = range(4 if steps <= 20 else 1)  # of the random start, which only the early steps remember
        for seed in seeds:
            approximation = NMF(8, 512, rank, iterations=steps, solver=solver, seed=seed).double()(x)
            errors.append((approximation - x).norm(dim=(1, 2)) / x.norm(dim=(1, 2)))
        return float((sum(errors) / len(seeds) - bounds).mean())

    tolerance = {1: 0.03, 2: 0.02, 5: 0.012, 20: 0.004, 100: 0.002}
    for steps, value in zip(STEPS[1:], expected[1:], strict=True):
        assert mean_excess(steps) == pytest.approx(value - table_bound, abs=tolerance[steps]), steps
    assert mean_excess(0) > 0.2


@pytest.mark.parametrize("solver", ["hals", "mu"])
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_error_never_rises_and_never_beats_the_svd(solver, seed, rank):
    x = uniform(seed, 6, 20)
    errors = [relative_error(x, NMF(6, 20, rank, iterations=t, solver=solver, seed=seed).double()) for t in range(8)]
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(errors))
    assert errors[-1] >= svd_bound(x, rank) - 1e-9


def test_few_iterations_are_nearly_as_good_as_five():
    x = torch.relu(torch.randn(20, 8, 512, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    layer = NMF(8, 512, 1).double()
    five = layer(x)

    def change(iterations):
        layer.iterations = iterations
        return float((layer(x) - five).norm() / five.norm())

    assert [change(t) for t in (1, 2, 3)] == pytest.approx([0.052, 0.011, 0.0024], rel=0.25)


def test_factors_are_non_negative_and_make_the_output():
    x = uniform(1, 6, 20, batch=(2, 3))
    layer = NMF(6, 20, 3).double()
    u, v = layer.factors(x)
    assert u.shape == (2, 3, 6, 3)
    assert v.shape == (2, 3, 20, 3)
    assert float(u.min()) >= 0
    assert float(v.min()) >= 0
    assert torch.equal(u @ v.transpose(-1, -2), layer(x))


def test_without_iterations_the_start_comes_back():
    layer = NMF(4, 5, 2, iterations=0)
    assert torch.allclose(layer(uniform(0, 4, 5, (3,)).float()), (layer.u0 @ layer.v0.T).expand(3, 4, 5))


@pytest.mark.parametrize("solver", ["hals", "mu"])
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_all_zero_matrix_stays_finite_and_small(solver, rank, dtype):
    layer = NMF(4, 9, rank, solver=solver).to(dtype)
    out = layer(torch.zeros(2, 4, 9, dtype=dtype))
    assert bool(torch.isfinite(out).all())
    assert float(out.max()) < 0.05


def test_gradients_flow_through_the_last_steps_only():
    x = uniform(2, 4, 6).requires_grad_()

    def gradient(steps):
        (grad,) = torch.autograd.grad(NMF(4, 6, 2, num_grad_steps=steps).double()(x).square().sum(), x)
        return grad

    assert torch.equal(gradient(None), gradient(5))
    assert not torch.allclose(gradient(1), gradient(5))
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient(0)


def test_gradients_are_those_of_finite_differences():
    x = uniform(3, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(NMF(3, 5, 2, iterations=3).double(), (x,), atol=1e-5)


def test_flops_of_the_authors_test():
    assert nmf_flops(8, 512, 2, 5) == (226_240, 16_384)


def test_rank_when_unset():
    assert default_rank(8, 512) == 1
    assert NMF(64, 512).rank == 6


def test_the_start_is_stored_in_the_checkpoint_and_repeats():
    assert set(NMF(4, 5, 2).state_dict()) == {"u0", "v0"}
    assert torch.equal(NMF(4, 5, 2, seed=7).u0, NMF(4, 5, 2, seed=7).u0)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NMF(4, 5, 0), "from 1 to 4"),
        (lambda: NMF(4, 5, 5), "from 1 to 4"),
        (lambda: NMF(0, 5), "nothing to factor"),
        (lambda: NMF(4, 5, solver="als"), "hals, mu"),
        (lambda: NMF(4, 5, epsilon=1e-8), "at least 1e-06"),
        (lambda: NMF(4, 5, epsilon=float("nan")), "at least 1e-06"),
        (lambda: NMF(4, 5, iterations=-1), "negative"),
        (lambda: NMF(4, 5, 1)(-torch.ones(4, 5)), "negative or NaN"),
        (lambda: NMF(4, 5, 1)(torch.full((4, 5), float("nan"))), "negative or NaN"),
        (lambda: NMF(4, 5, 1)(torch.ones(5, 4)), "4 x 5"),
    ],
)
def test_bad_input_is_named(build, words):
    with pytest.raises(UsageError, match=words):
        build()
