"""The window on groups of columns, by what it computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.column_window import ColumnWindow


@given(st.integers(2, 5), st.integers(1, 7), st.integers(0, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_the_wide_window_is_the_narrow_one_on_groups(
    columns: int, width: int, before: int, groups: int, inputs: int, outputs: int
) -> None:
    before = min(before, width - 1)
    window = ColumnWindow(columns, before, width - 1 - before)
    rng = np.random.default_rng(width)
    kernel = rng.integers(-9, 9, (outputs, inputs, 2, width))
    wide = window.join(kernel)
    np.testing.assert_array_equal(window.part(wide), kernel)
    np.testing.assert_array_equal(window.part(window.join(kernel[:, 0, 0, 0])), kernel[:, 0, 0, 0])
    row = rng.integers(-9, 9, (inputs, columns * groups))
    padded = np.pad(row, ((0, 0), (before, width - 1 - before)))
    plain = np.stack([np.tensordot(kernel[:, :, 0], padded[:, i : i + width], 2) for i in range(columns * groups)], -1)
    grouped = row.T.reshape(groups, columns * inputs).T
    size, left, right = window.joined
    assert min(left, right) >= 0
    padded = np.pad(grouped, ((0, 0), (left, right)))
    joined = np.stack([np.tensordot(wide[:, :, 0], padded[:, i : i + size], 2) for i in range(groups)], -1)
    np.testing.assert_array_equal(joined.T.reshape(groups * columns, outputs).T, plain)


def test_shapes_there_and_back() -> None:
    window = ColumnWindow(4, 1, 1)
    assert window.joined == (3, 1, 1)
    assert window.regroup([1, 3, 6, 8], back=False) == [1, 12, 6, 2]
    assert window.regroup([1, 12, 6, 2], back=True) == [1, 3, 6, 8]


@pytest.mark.parametrize("shape", [(7,), (6, 8, 3, 3)])
def test_constants_of_no_group_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="reshape"):
        ColumnWindow(4, 1, 1).part(np.zeros(shape))
