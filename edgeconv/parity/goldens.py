"""Golden files of the pytest plugin: inputs and PyTorch's outputs of a model, reviewed and kept in a repository.

A bundle has golden cases too, made anew by every export; a golden file stays, so a change of the model itself shows.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.drift import compare_outputs, golden_outputs
from edgeconv.bundles import Bundle
from edgeconv.errors import DataError
from edgeconv.files import atomic_write_bytes

__all__ = ["Golden", "difference", "golden_of", "read_golden", "write_golden"]

_SCHEMA = 1
_ABOUT = "about"
_INPUT, _OUTPUT, _TARGET = "input.", "torch.", "target"
_MOST_CASES = 4  # a repository is no place for more
_SAME_DB = 90.0  # the class of the export drift: another machine or version of PyTorch sums in another order
_RENEW = "If that is meant, renew it with pytest --edgeconv-update, look at the change and commit it."

_Arrays = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Golden:
    """`arrays` are named as in a bundle's golden cases: `input.<port>`, `torch.<port>`, `target`."""

    model: str
    arrays: _Arrays

    @property
    def samples(self) -> _Arrays:
        """The inputs by port, and the targets: data that an export takes."""
        inputs = {name[len(_INPUT) :]: array for name, array in self.arrays.items() if name.startswith(_INPUT)}
        return {**inputs, **{name: array for name, array in self.arrays.items() if name == _TARGET}}


def golden_of(bundle: Bundle) -> Golden:
    """What a bundle's golden cases give for a golden file: the first few of them.

    Raises:
        BundleError: the golden cases are damaged.
    """
    arrays = bundle.golden_arrays()
    names = [name for name in arrays if name.startswith((_INPUT, _OUTPUT)) or name == _TARGET]
    return Golden(bundle.manifest.model.name, {name: arrays[name][:_MOST_CASES] for name in names})


def read_golden(path: Path) -> Golden | None:
    """The golden file at `path`, None where there is none.

    Raises:
        DataError: it is damaged, no golden file of ours, or of a newer schema.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(str(arrays.pop(_ABOUT)[()]))
        schema, model = about["schema_version"], about["model"]
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is no golden file of ours: {error}.", "Remove it, then use --edgeconv-update."
        ) from error
    if not isinstance(schema, int) or schema > _SCHEMA:
        raise DataError(f"{path} has schema version {schema}, this edgeconv reads up to {_SCHEMA}.", "Update edgeconv.")
    return Golden(str(model), arrays)


def write_golden(path: Path, golden: Golden) -> None:
    """Write a golden file whole or not at all, several tests at once included; equal content gives equal bytes."""
    about = json.dumps({"schema_version": _SCHEMA, "model": golden.model})
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **{_ABOUT: np.array(about)}, **dict(sorted(golden.arrays.items())))
    atomic_write_bytes(path, stream.getvalue())


def difference(golden: Golden, current: Golden, path: Path) -> str | None:
    """How the model's behaviour differs from its golden file, in words; None where it does not.

    Inputs must be the same: a golden file of other data says nothing about this model.
    """
    if golden.model != current.model:
        return f"{path} is the golden file of the model {golden.model}, not of {current.model}."
    before, after = (_named(one.arrays, _INPUT) for one in (golden, current))
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            return f"{path}: input {name!r} is {'new' if name not in before else 'gone'}. {_RENEW}"
        if before[name].shape != after[name].shape or before[name].dtype != after[name].dtype:
            return f"{path}: input {name!r} is {_kind(after[name])}, in the golden file {_kind(before[name])}. {_RENEW}"
        if not np.array_equal(before[name], after[name]):
            return f"{path} was made with other inputs ({name!r} differs), so its outputs cannot be compared. {_RENEW}"
    try:
        wanted, found = (golden_outputs(one.arrays, "torch") for one in (golden, current))
        part = compare_outputs(wanted, found)
    except DataError as error:
        return f"{path}: {error} {_RENEW}"
    if part.sqnr_db is None or part.sqnr_db >= _SAME_DB:
        return None
    name, place, expected, got = _largest(wanted, found)
    return (
        f"PyTorch's outputs differ from {path}: {part.sqnr_db:.1f} dB of SQNR where {_SAME_DB:.0f} are needed, most at "
        f"{name}{place}: {got:.6g} instead of {expected:.6g}. {_RENEW}"
    )


def _named(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> _Arrays:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _kind(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _largest(wanted: _Arrays, found: _Arrays) -> tuple[str, list[int], float, float]:
    """Port, place (the case first), expected and found value of the largest difference."""
    errors = {name: np.abs(np.asarray(found[name], np.float64) - wanted[name]) for name in wanted}
    name = max(errors, key=lambda port: float(errors[port].max(initial=0)))
    place = np.unravel_index(int(errors[name].argmax()), errors[name].shape)
    return name, [int(i) for i in place], float(wanted[name][place]), float(found[name][place])
