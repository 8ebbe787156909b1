from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import UsageError
from edgeconv.layers.coordgate import CoordGate2d
from edgeconv.layers.separability import filter_names, make_filter, separate_maps

FILTERS = np.stack([make_filter(name) for name in filter_names()])


@pytest.mark.parametrize(("rank", "error"), [(1, 0.324), (2, 0.222), (4, 0.153), (8, 0.085)])
def test_the_error_of_the_circle_to_three_decimals(rank, error):
    found = separate_maps(FILTERS, rank)
    assert round(float(found.errors[filter_names().index("circle")]), 3) == error


@pytest.mark.parametrize("rank", [1, 2, 5, 50])
def test_errors_are_those_of_the_maps(rank):
    found = separate_maps(FILTERS, rank)
    norms = np.linalg.norm(FILTERS, axis=(1, 2))
    assert found.errors == pytest.approx(np.linalg.norm(FILTERS - found.maps, axis=(1, 2)) / norms, abs=1e-7)
    assert found.values == len(FILTERS) * rank * 100


@given(st.integers(0, 1000), st.integers(1, 5))
def test_no_other_terms_are_nearer(seed, rank):
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(2, 6, 5))
    found = separate_maps(maps, rank)
    moved = found.columns + 1e-3 * rng.normal(size=found.columns.shape)
    other = np.einsum("crh,crw->chw", moved, found.rows)
    errors = np.linalg.norm(maps - other, axis=(1, 2)) / np.linalg.norm(maps, axis=(1, 2))
    assert (errors >= found.errors - 1e-9).all()


def test_an_affine_gate_has_two_terms():
    gate = CoordGate2d(8, 24, 40, hidden_act="none").gate_map()[0].detach().double().numpy()
    assert separate_maps(gate, 2).errors.max() < 1e-6


def test_a_map_of_zeros_is_exact():
    assert separate_maps(np.zeros((1, 3, 4)), 1).errors.tolist() == [0]


@pytest.mark.parametrize(
    ("maps", "rank", "words"),
    [
        (np.ones((3, 4)), 1, "stack of matrices"),
        (np.ones((0, 3, 4)), 1, "stack of matrices"),
        (np.ones((1, 3, 4)), 0, "ranks 1 to 3"),
        (np.ones((1, 3, 4)), 4, "ranks 1 to 3"),
        (np.full((1, 3, 4), np.nan), 1, "not finite"),
    ],
)
def test_bad_input_is_named(maps, rank, words):
    with pytest.raises(UsageError, match=words):
        separate_maps(maps, rank)
