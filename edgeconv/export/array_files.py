"""`.npy` and `.npz` files read one sample at a time, so that a large calibration set never lies in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError

__all__ = ["StoredArray", "open_npy", "open_npz"]

_Array = npt.NDArray[Any]
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array in a file: its shape and dtype, and how to open the file where its header begins."""

    source: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    def pieces(self, shape: tuple[int, ...]) -> Iterator[_Array]:
        """The values in order, as arrays of `shape`; what is left at the end is less than one of them.

        Raises:
            DataError: the file ends too early.
        """
        size = math.prod(shape)
        with self.open() as file:
            if self.fortran_order:  # its samples do not lie together
                values = np.lib.format.read_array(file, allow_pickle=False).reshape(-1)
                yield from (values[i : i + size].reshape(shape) for i in range(0, values.size - size + 1, size))
                return
            _read_header(file, self.source)
            for _ in range(math.prod(self.shape) // size if size else 0):
                data = _read(file, size * self.dtype.itemsize, self.source)
                yield np.frombuffer(data, self.dtype).reshape(shape)


def open_npy(path: Path) -> StoredArray:
    """The array of a `.npy` file.

    Raises:
        DataError: it is none, or holds objects.
    """
    return _stored(str(path), lambda: path.open("rb"))


def open_npz(path: Path) -> Mapping[str, StoredArray]:
    """The arrays of a `.npz` file, compressed or not, by name.

    Raises:
        DataError: it is none, or an array holds objects.
    """
    with _refusing(str(path)), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    return {name.removesuffix(".npy"): _stored(f"{path}: {name}", _member(path, name)) for name in members}


def _member(path: Path, name: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            yield file

    return opened


def _stored(source: str, opened: Callable[[], AbstractContextManager[IO[bytes]]]) -> StoredArray:
    with _refusing(source), opened() as file:
        shape, fortran_order, dtype = _read_header(file, source)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are never loaded")
    return StoredArray(source, shape, dtype, fortran_order, opened)


def _read_header(file: IO[bytes], source: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    with _refusing(source):
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"its format has version {version[0]}.{version[1]}")
        return _HEADERS[version](file)


def _read(file: IO[bytes], count: int, source: str) -> bytes:
    with _refusing(source):
        data = file.read(count)
        if len(data) < count:
            raise EOFError("it ends too early")
        return data


@contextlib.contextmanager
def _refusing(source: str) -> Iterator[None]:
    try:
        yield
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        zipfile.LargeZipFile,
        NotImplementedError,
    ) as error:
        raise DataError(f"{source} is no NumPy file that can be read: {error}.") from error
