"""Golden cases, read one at a time so that a small device never holds them all.

Part of the device agent: Python 3.8, numpy.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import IO, Dict, Iterator, List, Mapping, Sequence

import numpy as np

from edgeconv.errors import BundleError
from edgeconv.manifest import Port
from edgeconv.runtimes.base import Array

__all__ = ["pack_arrays", "read_cases"]


def read_cases(path: Path, ports: Sequence[Port]) -> Iterator[Dict[str, Array]]:
    """The raw inputs of one golden case after the other, by port.

    Raises:
        BundleError: the archive is damaged, or has no array of the declared shape and dtype for a port.
    """
    try:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(str(path)))
            streams = {port.name: stack.enter_context(archive.open(f"input.{port.name}.npy")) for port in ports}
            counts = [_check_header(path, port, streams[port.name]) for port in ports]
            for _ in range(min(counts)):
                yield {port.name: _read_one(streams[port.name], port) for port in ports}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{path} holds no golden inputs that can be read: {error}.") from error


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """A `.npz` of `arrays`; unlike `np.savez`, whatever their names are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
    return buffer.getvalue()


def _check_header(path: Path, port: Port, stream: IO[bytes]) -> int:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    expected: List[int] = list(port.shape)
    if list(shape[1:]) != expected or dtype != np.dtype(port.dtype) or (fortran and len(shape) > 1):
        raise BundleError(
            f"{path}: input.{port.name} is {dtype} {list(shape)}, expected {port.dtype} {['cases', *expected]}."
        )
    return int(shape[0])


def _read_one(stream: IO[bytes], port: Port) -> Array:
    dtype = np.dtype(port.dtype)
    count = int(np.prod(port.shape, dtype=np.int64))
    data = stream.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(port.shape)
