from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundles import load_bundle
from edgeconv.errors import BundleError, DataError
from edgeconv.parity.goldens import Golden, difference, golden_of, read_golden, write_golden

PATH = Path("goldens/m.npz")


def golden(model: str = "m", **changes: np.ndarray | None) -> Golden:
    rng = np.random.default_rng(0)
    arrays = {
        "input.x": rng.integers(0, 256, (2, 1, 3, 4, 5), dtype=np.uint8),
        "torch.y": rng.standard_normal((2, 1, 6)).astype(np.float32),
        "target": np.zeros((2, 1)),
    }
    for name, array in changes.items():
        key = name.replace("_", ".")
        if array is None:
            del arrays[key]
        else:
            arrays[key] = array
    return Golden(model, arrays)


def test_a_golden_is_read_as_it_was_written_and_equal_content_gives_equal_bytes(tmp_path):
    path = tmp_path / "new" / "m.npz"
    write_golden(path, golden())
    first = path.read_bytes()
    back = read_golden(path)
    assert back is not None
    assert back.model == "m"
    assert all(np.array_equal(back.arrays[name], array) for name, array in golden().arrays.items())
    assert sorted(back.samples) == ["target", "x"]
    write_golden(path, back)
    assert path.read_bytes() == first


def test_a_golden_that_is_not_there_is_none(tmp_path):
    assert read_golden(tmp_path / "gone.npz") is None


@pytest.mark.parametrize("contents", [b"", b"PK\x03\x04 cut off", b"not an archive"])
def test_a_damaged_golden_is_refused(tmp_path, contents):
    (tmp_path / "m.npz").write_bytes(contents)
    with pytest.raises(DataError, match=r"no golden file of ours.*--edgeconv-update"):
        read_golden(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (None, "no golden file of ours"),
        ("{}", "no golden file of ours"),
        ("[1]", "no golden file of ours"),
        ('{"schema_version": 9, "model": "m"}', "schema version 9, this edgeconv reads up to 1"),
    ],
)
def test_archives_of_others_are_refused(tmp_path, about, message):
    arrays = {"torch.y": np.zeros(2), **({} if about is None else {"about": np.array(about)})}
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_golden(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (golden(input_x=None), "it has no inputs"),
        (golden(input_x=np.float32(1)), "not of the same cases, one or more"),
        (golden(input_x=np.zeros((0, 1, 3), np.float32), target=None), "not of the same cases, one or more"),
        (golden(input_x=np.zeros((3, 1, 3), np.float32)), "not of the same cases, one or more"),
        (golden(input_x=np.full((2, 1), np.nan, np.float32)), "input 'x' has NaN or infinite values"),
        (golden(input_x=np.zeros((2, 1), np.int64)), "input 'x' is int64, expected uint8 images or floats"),
    ],
)
def test_inputs_that_no_export_can_take_are_told_with_the_path(tmp_path, current, message):
    write_golden(tmp_path / "m.npz", current)
    with pytest.raises(DataError, match=rf"m.npz cannot be used: .*{message}.*--edgeconv-update"):
        read_golden(tmp_path / "m.npz")


def test_sums_in_another_order_are_no_difference():
    y = golden().arrays["torch.y"]
    assert difference(golden(), golden(), PATH) is None
    assert difference(golden(), golden(torch_y=y * np.float32(1 + 1e-6)), PATH) is None


def test_a_difference_is_told_with_its_place():
    y = golden().arrays["torch.y"].copy()
    y[1, 0, 4] += 3
    words = difference(golden(), golden(torch_y=y), PATH)
    assert words is not None
    assert "dB of SQNR where 90 are needed, most at y[1, 0, 4]: " in words
    assert "renew it with pytest --edgeconv-update" in words


def test_an_output_with_large_values_does_not_hide_another_that_differs():
    large = {"torch_large": np.full((2, 1, 6), 1e6, np.float32)}
    y = golden().arrays["torch.y"]
    words = difference(golden(**large), golden(**large, torch_y=-y), PATH)
    assert words is not None
    assert "most at y[" in words


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (golden("other"), "is the golden file of the model m, not of other"),
        (golden(input_x=np.zeros((2, 1, 3, 4, 5), np.uint8)), "was made with other inputs ('x' differs)"),
        (golden(input_x=np.zeros((2, 1, 3, 4, 6), np.uint8)), "input 'x' is uint8 [2, 1, 3, 4, 6]"),
        (golden(input_x=np.zeros((2, 1, 3, 4, 5), np.float32)), "input 'x' is float32"),
        (golden(input_z=np.zeros(2)), "input 'z' is new"),
        (golden(input_x=None), "input 'x' is gone"),
        (golden(torch_y=None), "no outputs of the torch reference"),
        (golden(torch_y=np.zeros((2, 1, 7), np.float32)), "has shape"),
        (golden(torch_y=np.full((2, 1, 6), np.nan, np.float32)), "NaN"),
    ],
)
def test_what_cannot_be_compared_is_told(current, message):
    words = difference(golden(), current, PATH)
    assert words is not None
    assert message in words


def test_a_bundle_gives_its_golden_cases(tiny_bundle):
    found = golden_of(load_bundle(tiny_bundle))
    assert found.model == "tiny"
    assert set(found.arrays) == {"input.x", "torch.y", "target"}


def test_a_bundle_whose_golden_cases_are_damaged_is_refused(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    bundle.golden.write_bytes(b"PK")
    with pytest.raises(BundleError, match=r"cases.npz cannot be used"):
        golden_of(bundle)


def test_writers_side_by_side_leave_a_whole_golden(tmp_path):
    """What parallel test workers do: the last one wins, and nobody ever reads half a file."""
    code = """
import sys, numpy as np
from pathlib import Path
from edgeconv.parity.goldens import Golden, read_golden, write_golden
path, value = Path(sys.argv[1]), float(sys.argv[2])
for _ in range(30):
    write_golden(path, Golden("m", {"input.x": np.full(50_000, value)}))
    golden = read_golden(path)
    assert golden is not None and len(set(golden.arrays["input.x"])) == 1
"""
    path = tmp_path / "goldens" / "m.npz"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(value)], env={**os.environ}) for value in range(3)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert [p.name for p in path.parent.iterdir()] == ["m.npz"]
