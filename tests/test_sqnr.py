from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.sqnr import Power, sqnr_db


@pytest.mark.parametrize(("signal", "noise", "db"), [(100.0, 1.0, 20.0), (1.0, 1.0, 0.0), (2.0, 2000.0, -30.0)])
def test_decibels_of_two_energies(signal: float, noise: float, db: float) -> None:
    assert sqnr_db(signal, noise) == pytest.approx(db)


def test_no_difference_is_no_number() -> None:
    assert sqnr_db(1.0, 0.0) is None
    assert Power().db is None


def test_a_silent_reference_is_finite() -> None:
    found = sqnr_db(0.0, 1.0)
    assert found is not None
    assert math.isfinite(found)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.integers(1, 39))
def test_power_adds_up_over_parts(values: list[float], where: int) -> None:
    reference = np.array(values)
    found = reference + np.resize([0.5, -0.25], len(values))
    whole, parts = Power(), Power()
    whole.add(reference, found)
    for part in (slice(None, where), slice(where, None)):
        parts.add(reference[part], found[part])
    assert (parts.signal, parts.noise) == (pytest.approx(whole.signal), pytest.approx(whole.noise))
