from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.errors import DataError
from edgeconv.export.array_files import open_npy, open_npz

VALUES = np.arange(7 * 2 * 3, dtype=np.float32).reshape(7, 2, 3)


@pytest.mark.parametrize("order", ["C", "F"])
def test_pieces_are_the_samples_in_order(tmp_path: Path, order: str) -> None:
    np.save(tmp_path / "a.npy", np.asarray(VALUES, order=order))  # type: ignore[call-overload]
    array = open_npy(tmp_path / "a.npy")
    assert array.shape == VALUES.shape
    assert np.array_equal(list(array.pieces((2, 3))), VALUES)
    assert np.array_equal(list(array.pieces((2, 3))), VALUES)  # again from the start
    assert np.array_equal(list(array.pieces((3, 2, 3))), VALUES[:6].reshape(2, 3, 2, 3))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_archive_are_read_side_by_side(tmp_path: Path, save: object) -> None:
    save(tmp_path / "a.npz", x=VALUES, target=VALUES.astype(np.int64) * 2)  # type: ignore[operator]
    arrays = open_npz(tmp_path / "a.npz")
    assert set(arrays) == {"x", "target"}
    pairs = list(zip(arrays["x"].pieces((2, 3)), arrays["target"].pieces((2, 3)), strict=True))
    assert len(pairs) == 7
    assert all(np.array_equal(2 * x, target) for x, target in pairs)


def test_truncated_file_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-5])
    with pytest.raises(DataError, match="ends too early"):
        list(open_npy(tmp_path / "a.npy").pieces((2, 3)))


@pytest.mark.parametrize("contents", [b"", b"\x93NUMPY\x09\x00", b"PK\x03\x04 no archive"])
def test_foreign_files_are_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "a").write_bytes(contents)
    for opened in (open_npy, open_npz):
        with pytest.raises(DataError, match="no NumPy file"):
            opened(tmp_path / "a")
