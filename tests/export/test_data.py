from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeconv.errors import DataError, UsageError
from edgeconv.export.data import input_ports, open_source, split_source
from edgeconv.manifest import Normalisation

GREY = {"x": (1, 1, 8, 10)}
COLOUR = {"image": (1, 3, 8, 10)}


def _images(folder: Path, count: int, mode: str = "RGB") -> Path:
    folder.mkdir()
    for i in range(count):
        Image.new(mode, (20, 16), i).save(folder / f"{i}.png")
    return folder


def test_a_folder_of_images_gives_raw_uint8_samples_in_name_order(tmp_path: Path) -> None:
    samples = list(open_source(str(_images(tmp_path / "i", 3, "L")), GREY))
    assert [s["x"].dtype for s in samples] == [np.uint8] * 3
    assert [s["x"].shape for s in samples] == [(1, 1, 8, 10)] * 3
    assert [int(s["x"][0, 0, 0, 0]) for s in samples] == [0, 1, 2]


def test_colour_images_are_channel_first(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    Image.new("RGB", (10, 8), (1, 2, 3)).save(folder / "a.png")
    (sample,) = open_source(str(folder), COLOUR)
    assert sample["image"][0, :, 0, 0].tolist() == [1, 2, 3]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    with pytest.raises(DataError, match="holds no sample"):
        open_source(str(tmp_path / "e"), GREY)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    folder = _images(tmp_path / "i", 1)
    (folder / "0_notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"0_notes\.txt is no image"):
        list(open_source(str(folder), COLOUR))


def test_images_do_not_fit_a_model_with_five_channels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder of images fits"):
        open_source(str(_images(tmp_path / "i", 1)), {"x": (1, 5, 8, 8)})


@pytest.mark.parametrize("shape", [(4, 1, 8, 10), (4, 1, 1, 8, 10)])
def test_npz_with_one_array_under_any_name_is_the_one_input(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "cal.npz", whatever=np.zeros(shape, np.float32))
    samples = list(open_source(str(tmp_path / "cal.npz"), GREY))
    assert len(samples) == 4
    assert samples[0]["x"].shape == (1, 1, 8, 10)


def test_npz_keeps_targets(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=np.zeros((2, 1, 8, 10), np.uint8), target=np.ones((2, 1, 8, 10)))
    samples = list(open_source(str(tmp_path / "e.npz"), GREY))
    assert samples[1]["target"].shape == (1, 8, 10)


def test_npy_of_one_sample_without_batch_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 8, 10), np.float32))
    assert len(list(open_source(str(tmp_path / "a.npy"), GREY))) == 1


def test_batches_larger_than_one_are_cut_from_the_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((7, 1, 8, 10), np.float32))
    samples = list(open_source(str(tmp_path / "a.npy"), {"x": (3, 1, 8, 10)}))
    assert [s["x"].shape for s in samples] == [(3, 1, 8, 10)] * 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 1, 8, 9), np.float32), "shape 2x1x8x9"),
        (np.full((2, 1, 8, 10), np.nan, np.float32), "NaN"),
        (np.full((2, 1, 8, 10), np.inf, np.float32), "NaN or infinite"),
        (np.zeros((2, 1, 8, 10), np.int32), "int32"),
        (np.zeros((0, 1, 8, 10), np.float32), "holds no sample"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        list(open_source(str(tmp_path / "a.npy"), GREY))


def test_nan_in_a_later_sample_is_named(tmp_path: Path) -> None:
    array = np.zeros((3, 1, 8, 10), np.float32)
    array[2, 0, 1, 1] = np.nan
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="sample 2"):
        list(open_source(str(tmp_path / "a.npy"), GREY))


@pytest.mark.parametrize("name", ["nothing", "nothing.npz", "nothing.npy", "nothing.csv"])
def test_a_missing_source_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError):
        open_source(str(tmp_path / name), GREY)


def test_a_pickled_array_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no NumPy file"):
        open_source(str(tmp_path / "p.npy"), GREY)


def test_garbage_is_no_numpy_file(tmp_path: Path) -> None:
    (tmp_path / "g.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="no NumPy file"):
        open_source(str(tmp_path / "g.npz"), GREY)


def test_what_a_function_prints_is_kept_from_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import numpy\nprint('one')\ndef data():\n    print('two')\n    yield numpy.zeros((1, 2), 'float32')\n"
    (tmp_path / "loud.py").write_text(code)
    assert len(open_source(f"{tmp_path / 'loud.py'}:data", {"x": (1, 2)}).take(5)) == 1
    told = capsys.readouterr()
    assert (told.out, set(told.err.split())) == ("", {"one", "two"})


def test_a_function_streams_its_samples(tmp_path: Path) -> None:
    (tmp_path / "cal.py").write_text(
        "import numpy as np\ndef f():\n    for i in range(5):\n        yield np.full((1, 1, 8, 10), i, np.float32)\n"
        "def bad():\n    raise KeyError('lost')\n    yield\nn = 3\n"
    )
    samples = list(open_source(f"{tmp_path}/cal.py:f", GREY))
    assert [float(s["x"].max()) for s in samples] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="raised KeyError"):
        open_source(f"{tmp_path}/cal.py:bad", GREY)
    with pytest.raises(DataError, match="is no function"):
        open_source(f"{tmp_path}/cal.py:n", GREY)
    with pytest.raises(DataError, match="no file"):
        open_source(f"{tmp_path}/gone.py:f", GREY)


def test_golden_samples_are_kept_from_calibration(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(20, dtype=np.float32)[:, None, None, None] * np.ones((1, 8, 10), np.float32))
    golden, rest = split_source(open_source(str(tmp_path / "a.npy"), GREY), 3)
    kept = [float(s["x"].max()) for s in golden]
    assert kept == [3, 7, 11]
    assert [float(s["x"].max()) for s in rest] == [i for i in range(20) if i not in kept]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_floats_are_float32_whatever_the_users_are(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 1, 8, 10), 0.5, dtype))
    assert {sample["x"].dtype for sample in open_source(str(tmp_path / "a.npy"), GREY)} == {np.dtype(np.float32)}


def test_a_number_that_float32_cannot_hold_is_infinite(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 1, 8, 10), 1e300))
    with pytest.raises(DataError, match="infinite"):
        open_source(str(tmp_path / "a.npy"), GREY)


def test_few_samples_serve_both(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 1, 8, 10), np.float32))
    golden, rest = split_source(open_source(str(tmp_path / "a.npy"), GREY), 3)
    assert len(golden) == len(list(rest)) == 2


def test_images_get_a_scale_and_the_user_s_mean_and_std() -> None:
    sample = {"image": np.zeros((1, 3, 8, 10), np.uint8)}
    (port,) = input_ports([sample], COLOUR, (0.5, 0.25, 0.125), (2.0,))
    assert port.normalisation == Normalisation(1 / 255, [0.5, 0.25, 0.125], [2.0, 2.0, 2.0])
    assert (port.dtype, port.layout) == ("uint8", "NCHW")


def test_floats_are_left_as_they_are_without_mean_and_std() -> None:
    (port,) = input_ports([{"x": np.zeros((1, 1, 8, 10), np.float32)}], GREY, None, None)
    assert port.normalisation is None


@pytest.mark.parametrize(
    ("mean", "std"), [((1.0, 2.0), None), (None, (0.0,)), (None, (1.0, 1.0)), (None, (np.inf,)), ((np.nan,), None)]
)
def test_means_that_do_not_fit_are_refused(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    with pytest.raises(UsageError):
        input_ports([{"image": np.zeros((1, 3, 8, 10), np.uint8)}], COLOUR, mean, std)
