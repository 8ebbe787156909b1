"""Names in a sentence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.wording import listed


def test_what_is_beyond_the_most_is_counted():
    assert listed([], 3) == ""
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert listed(["a", "b"], 2, "; ") == "a; b"


@given(st.lists(st.text("xyz", min_size=1), max_size=9), st.integers(1, 9))
def test_nothing_is_lost(names, most):
    shown, _, rest = listed(names, most).partition(" and ")
    assert len(shown.split(", ") if shown else []) + int(rest.split(" ")[0] if rest else 0) == len(names)
