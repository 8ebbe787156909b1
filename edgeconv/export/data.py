"""Calibration and evaluation data: folders of images, `.npy`, `.npz`, or a function of the user's.

Samples stay *raw* (8-bit images stay uint8): the normalisation is declared once, in the port, and applied by the
runner's own code, here as on the device, never by the user.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError, EdgeconvError, UsageError
from edgeconv.export.array_files import StoredArray, open_npy, open_npz
from edgeconv.manifest import Normalisation, Port
from edgeconv.user_code import user_attribute

__all__ = ["TARGET_KEY", "Array", "Sample", "SampleSource", "input_ports", "open_source", "split_source"]

Array = npt.NDArray[Any]
Sample = dict[str, Array]
TARGET_KEY = "target"
_GOLDEN_STRIDE = 4  # every 4th of the first samples is kept from calibration, so int8 is judged on data it never saw
_END = object()
_SHAPES = "Expected: a folder of images, a .npy, a .npz with one array per input, or file.py:function."


@dataclasses.dataclass(frozen=True)
class SampleSource:
    """Samples that can be iterated over again and again without being held in memory.

    Each sample maps a port's name to a raw array of the port's shape, batch included; `target` may be among them.
    """

    description: str
    samples: Callable[[], Iterator[Sample]]

    def __iter__(self) -> Iterator[Sample]:
        return self.samples()

    def take(self, count: int) -> list[Sample]:
        """The first `count` samples."""
        return list(itertools.islice(self.samples(), count))


def open_source(spec: str, shapes: Mapping[str, tuple[int, ...]]) -> SampleSource:
    """Open calibration or evaluation data for a model with the inputs `shapes` (name to shape, batch included).

    Raises:
        DataError: nothing there, empty, no image, wrong shape or dtype, or not finite; file and sample are named.
    """
    path = Path(spec)
    if path.is_dir():
        return _checked(spec, shapes, _image_folder(path, shapes))
    if path.suffix in _ARRAY_READERS:
        if not path.is_file():
            raise DataError(f"There is no file {spec}.", _SHAPES)
        arrays = _ARRAY_READERS[path.suffix](path, shapes)
        return _checked(spec, shapes, lambda: _slices(arrays, shapes, spec))
    if ":" in spec:
        return _checked(spec, shapes, _function(spec, shapes))
    raise DataError(f"{spec} is neither a folder nor data that edgeconv reads.", _SHAPES)


def split_source(source: SampleSource, golden: int) -> tuple[list[Sample], SampleSource]:
    """Keep up to `golden` of the first samples for the golden cases and leave the others for calibration.

    With fewer than four samples all of them serve both.
    """
    few: list[Sample] = []
    kept: dict[int, Sample] = {}
    for index, sample in enumerate(itertools.islice(source, golden * _GOLDEN_STRIDE)):
        if index < _GOLDEN_STRIDE - 1:
            few.append(sample)
        elif index % _GOLDEN_STRIDE == _GOLDEN_STRIDE - 1:
            kept[index] = sample
    if not kept:
        return few, source
    indices = frozenset(kept)

    def rest() -> Iterator[Sample]:
        return (sample for i, sample in enumerate(source) if i not in indices)

    return list(kept.values()), SampleSource(source.description, rest)


def input_ports(
    samples: Iterable[Sample],
    shapes: Mapping[str, tuple[int, ...]],
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> list[Port]:
    """The input ports as the first sample shows them: uint8 inputs are images and get the scale 1/255.

    `mean` and `std` are in units of the scaled input, one value or one for each channel.
    """
    first = next(iter(samples), {})
    return [
        _port(name, shape, first[name].dtype if name in first else np.dtype(np.float32), mean, std)
        for name, shape in shapes.items()
    ]


def _port(
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> Port:
    image = dtype == np.uint8
    channels = shape[1] if len(shape) > 1 else 1
    for what, values in (("--mean", mean), ("--std", std)):
        if values is not None and len(values) not in (1, channels):
            raise UsageError(f"{what} has {len(values)} values, input {name} has {channels} channels.")
    if not all(math.isfinite(value) for value in mean or ()):
        raise UsageError(f"--mean must be finite, found {mean}.")
    if not all(0 < value < math.inf for value in std or ()):
        raise UsageError(f"--std must be positive and finite, found {std}.")
    normalisation = None
    if image or mean is not None or std is not None:
        spread = [1] if len(shape) < 2 else [channels]
        normalisation = Normalisation(
            scale=1 / 255 if image else 1.0,
            mean=np.broadcast_to(mean or (0.0,), spread).astype(float).tolist(),
            std=np.broadcast_to(std or (1.0,), spread).astype(float).tolist(),
        )
    layout = "NCHW" if len(shape) == 4 else "as-is"
    return Port(name, list(shape), "uint8" if image else "float32", layout, normalisation)


def _checked(spec: str, shapes: Mapping[str, tuple[int, ...]], samples: Callable[[], Iterator[Sample]]) -> SampleSource:
    def checked() -> Iterator[Sample]:
        count = 0
        for count, sample in enumerate(samples(), start=1):
            yield _check(spec, count - 1, sample, shapes)
        if count == 0:
            raise DataError(f"{spec} holds no sample.", _SHAPES)

    source = SampleSource(spec, checked)
    source.take(1)
    return source


def _check(spec: str, index: int, sample: Sample, shapes: Mapping[str, tuple[int, ...]]) -> Sample:
    where = f"{spec}, sample {index}"
    missing = sorted(set(shapes) - set(sample))
    if missing:
        raise DataError(f"{where} has no array for input {missing[0]!r}; it has {', '.join(sorted(sample))}.", _SHAPES)
    taken = dict(sample)
    for name, shape in shapes.items():
        array = sample[name]
        if array.shape != shape:
            raise DataError(f"{where}: input {name!r} has shape {_x(array.shape)}, the model takes {_x(shape)}.")
        if not (array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)):
            raise DataError(f"{where}: input {name!r} is {array.dtype}, expected uint8 images or floats.")
        if array.dtype != np.uint8:
            with np.errstate(over="ignore"):  # told below
                taken[name] = array.astype(np.float32, copy=False)  # float64, NumPy's default, is fed to no runtime
        if not np.isfinite(taken[name]).all():
            raise DataError(f"{where}: input {name!r} has NaN or infinite values.", "Remove or repair that sample.")
    return taken


def _image_folder(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Callable[[], Iterator[Sample]]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    (name, shape), *others = shapes.items()
    modes = {1: "L", 3: "RGB"}
    if others or len(shape) != 4 or shape[0] != 1 or shape[1] not in modes:
        raise DataError(
            f"{path}: a folder of images fits one input of shape 1x1xHxW or 1x3xHxW, the model takes "
            + ", ".join(f"{n}={_x(s)}" for n, s in shapes.items()),
            "Give a .npz instead.",
        )
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))

    def images() -> Iterator[Sample]:
        for file in files:
            try:
                with Image.open(file) as image:
                    fitted = ImageOps.fit(
                        image.convert(modes[shape[1]]), (shape[3], shape[2]), Image.Resampling.BICUBIC
                    )
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
                raise DataError(
                    f"{file} is no image that can be read ({error}).", "Remove it from the folder."
                ) from error
            pixels = np.asarray(fitted, np.uint8)
            yield {name: np.ascontiguousarray((pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))[None])}

    return images


def _read_npy(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, StoredArray]:
    if len(shapes) != 1:
        raise DataError(f"{path}: a .npy holds one array, the model has inputs {', '.join(shapes)}.", "Use a .npz.")
    return {next(iter(shapes)): open_npy(path)}


def _read_npz(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, StoredArray]:
    arrays = dict(open_npz(path))
    inputs = [key for key in arrays if key != TARGET_KEY]
    if len(shapes) == 1 and len(inputs) == 1:  # whatever the one array is called, it is the one input
        arrays[next(iter(shapes))] = arrays.pop(inputs[0])
    return arrays


_ARRAY_READERS: dict[str, Callable[[Path, Mapping[str, tuple[int, ...]]], dict[str, StoredArray]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
}


def _slices(arrays: Mapping[str, StoredArray], shapes: Mapping[str, tuple[int, ...]], spec: str) -> Iterator[Sample]:
    pieces = {name: array.shape[1:] for name, array in arrays.items() if name == TARGET_KEY}
    for name, shape in shapes.items():
        if name in arrays and not _fits(arrays[name].shape, shape):
            raise DataError(
                f"{spec}: the array for input {name!r} has shape {_x(arrays[name].shape)}, "
                f"expected {_x(('N', *shape[1:]))} for the model's {_x(shape)}."
            )
        if name in arrays:
            pieces[name] = shape
    lengths = {name: math.prod(arrays[name].shape) // max(math.prod(piece), 1) for name, piece in pieces.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{spec}: arrays of different lengths: {lengths}.")
    names = list(pieces)
    for sample in zip(*(arrays[name].pieces(pieces[name]) for name in names), strict=True):
        yield dict(zip(names, sample, strict=True))


def _fits(stored: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array is samples stacked on a new axis or on the batch axis, or one sample without its batch axis."""
    return shape in (stored, stored[1:]) or stored[1:] == shape[1:] or stored == shape[1:]


def _function(spec: str, shapes: Mapping[str, tuple[int, ...]]) -> Callable[[], Iterator[Sample]]:
    function = _import_function(spec)
    names = list(shapes)

    def samples() -> Iterator[Sample]:
        try:
            for index, item in enumerate(_aside(function)):
                yield _as_sample(item, names, f"{spec}, sample {index}")
        except EdgeconvError:
            raise
        except Exception as error:  # the user's own code: whatever it raises is about the data
            raise DataError(
                f"{spec} raised {type(error).__name__}: {error}.", "Run it by itself to see where."
            ) from error

    return samples


def _aside(function: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """What it gives; what it prints goes to standard error, for standard output may be read by a machine."""
    with contextlib.redirect_stdout(sys.stderr):
        items = iter(function())
    while True:
        with contextlib.redirect_stdout(sys.stderr):
            item = next(items, _END)
        if item is _END:
            return
        yield item


def _as_sample(item: Any, names: list[str], where: str) -> Sample:
    if isinstance(item, Mapping):
        return {str(key): np.asarray(value) for key, value in item.items()}
    values = item if isinstance(item, (tuple, list)) else (item,)
    if len(values) not in (len(names), len(names) + 1):
        raise DataError(f"{where} has {len(values)} arrays, the model has inputs {', '.join(names)}.")
    return {name: np.asarray(value) for name, value in zip([*names, TARGET_KEY], values, strict=False)}


def _import_function(spec: str) -> Callable[[], Iterable[Any]]:
    with user_attribute(spec, "function", DataError) as function:
        if not callable(function):
            raise DataError(f"{spec} is no function, it is {type(function).__name__}.", _SHAPES)
        return function


def _x(shape: Iterable[object]) -> str:
    return "x".join(map(str, shape)) or "scalar"
