from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.compression.ranks import Spectrum, distortion, ranks_by_budget, ranks_by_energy
from edgeconv.errors import UsageError


def spectrum(values, *, dense=100, per_rank=10):
    energy = np.square(np.sort(np.asarray(values, float))[::-1])
    lost = 1 - np.concatenate([[0], np.cumsum(energy)]) / energy.sum()
    return Spectrum(np.clip(lost, 0, 1), min((dense - 1) // per_rank, len(values)), dense, per_rank)


spectra = st.lists(st.builds(spectrum, st.lists(st.floats(0.01, 10), min_size=3, max_size=9)), min_size=1, max_size=4)


def test_the_smallest_rank_that_keeps_enough_is_taken():
    steep = spectrum([10, 1, 0.1, 0.1])
    assert ranks_by_energy([steep], 0.9) == [1]
    assert ranks_by_energy([steep], 0.999) == [2]
    assert ranks_by_energy([steep], 1.0) == [4]


def test_a_flat_spectrum_stays_dense():
    assert ranks_by_energy([spectrum([1] * 20)], 0.9) == [None]


def test_multiples_are_kept_where_there_is_one_below_break_even():
    assert ranks_by_energy([spectrum([10, 1, 0.1, 0.1])], 0.9, multiple=2) == [2]
    assert spectrum([1, 1, 1], dense=50).allowed(8) == [3]


@given(spectra, st.floats(0.35, 1))
def test_a_budget_is_kept(found, budget):
    ranks = ranks_by_budget(found, budget)
    total = sum(s.dense_macs for s in found)
    assert sum(s.macs(r) for s, r in zip(found, ranks, strict=True)) <= budget * total


@given(spectra, st.floats(0.35, 1))
def test_no_single_cheaper_choice_loses_less(found, budget):
    """Greedy steps on the hull end within one step of the best; every assignment that costs no more loses more."""
    ranks = ranks_by_budget(found, budget)
    cost = sum(s.macs(r) for s, r in zip(found, ranks, strict=True))
    lost = sum(map(distortion, found, ranks))
    for other in itertools.islice(itertools.product(*([None, *s.allowed(1)] for s in found)), 500):
        if sum(s.macs(r) for s, r in zip(found, other, strict=True)) <= cost:
            assert sum(map(distortion, found, other)) >= lost - 1e-9


def test_a_whole_budget_changes_nothing():
    assert ranks_by_budget([spectrum([3, 2, 1])], 1.0) == [None]


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_shares_out_of_range_are_refused(share):
    for choose in (ranks_by_energy, ranks_by_budget):
        with pytest.raises(UsageError, match="share"):
            choose([spectrum([1, 1])], share)


def test_a_budget_below_the_lowest_ranks_is_refused():
    with pytest.raises(UsageError, match=r"cannot be met; the lowest ranks take 0\.10"):
        ranks_by_budget([spectrum([1, 1])], 0.05)
