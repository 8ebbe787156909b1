from __future__ import annotations

import io

import numpy as np
import pytest

from edgeconv.benchmarks.agent.golden import pack_arrays, read_cases
from edgeconv.errors import BundleError
from edgeconv.manifest import Port

PORTS = [Port("image", [1, 2, 3], "uint8", "as-is"), Port("scale", [], "float32", "as-is")]


def arrays():
    rng = np.random.default_rng(0)
    return {
        "input.image": rng.integers(0, 255, (4, 1, 2, 3), dtype=np.uint8),
        "input.scale": rng.normal(size=4).astype(np.float32),
        "torch.y": np.zeros((4, 1)),
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_cases_come_one_at_a_time_as_they_were_saved(save, tmp_path):
    wanted = arrays()
    save(tmp_path / "cases.npz", **wanted)
    found = list(read_cases(tmp_path / "cases.npz", PORTS))
    assert len(found) == 4
    for name in ("image", "scale"):
        np.testing.assert_array_equal(np.stack([case[name] for case in found]), wanted[f"input.{name}"])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("input.image", np.zeros((4, 1, 2, 3), np.float32)),
        ("input.image", np.zeros((4, 1, 2, 4), np.uint8)),
        ("input.image", np.zeros((4, 1, 2, 3), np.uint8, order="F")),
        ("input.other", np.zeros((4, 1, 2, 3), np.uint8)),
    ],
)
def test_an_array_that_does_not_fit_its_port_is_refused(name, array, tmp_path):
    wanted = {key: value for key, value in arrays().items() if key != "input.image"} | {name: array}
    np.savez(tmp_path / "cases.npz", **wanted)
    with pytest.raises(BundleError, match="image"):
        list(read_cases(tmp_path / "cases.npz", PORTS))


@pytest.mark.parametrize("cut", [0, 10, 300])
def test_a_cut_archive_is_a_bundle_error(cut, tmp_path):
    np.savez(tmp_path / "cases.npz", **arrays())
    data = (tmp_path / "cases.npz").read_bytes()
    (tmp_path / "cases.npz").write_bytes(data[:cut])
    with pytest.raises(BundleError, match=r"cases\.npz"):
        list(read_cases(tmp_path / "cases.npz", PORTS))


def test_packed_arrays_are_a_npz_whatever_their_names_are():
    wanted = {"file": np.arange(3.0), "a/b": np.ones((2, 2), np.float32), "allow_pickle": np.zeros(1)}
    with np.load(io.BytesIO(pack_arrays(wanted)), allow_pickle=False) as found:
        assert set(found.files) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
