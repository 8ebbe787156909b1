"""Golden files of the pytest plugin: inputs and PyTorch's outputs of a model, reviewed and kept in a repository.

A bundle has golden cases too, made anew by every export; a golden file stays, so a change of the model itself shows.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.drift import compare_ports, golden_outputs, worst_output
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
    def inputs(self) -> _Arrays:
        """The inputs by port."""
        return {name[len(_INPUT) :]: array for name, array in self.arrays.items() if name.startswith(_INPUT)}

    @property
    def samples(self) -> _Arrays:
        """The inputs by port, and the targets: data that an export takes."""
        return {**self.inputs, **{name: array for name, array in self.arrays.items() if name == _TARGET}}

    @property
    def cases(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values())))


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
        DataError: it is damaged, no golden file of ours, of a newer schema, or has no inputs that can be used.
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
    golden = Golden(str(model), arrays)
    fault = _fault(golden)
    if fault:
        raise DataError(f"{path} cannot be used: {fault}.", "Renew it with pytest --edgeconv-update.")
    return golden


def _fault(golden: Golden) -> str | None:
    """Why no export can take the inputs; None where it can."""
    if not golden.inputs:
        return "it has no inputs"
    lengths = {array.shape[0] if array.ndim else 0 for array in golden.samples.values()}
    if len(lengths) > 1 or 0 in lengths:
        return "its inputs and targets are not of the same cases, one or more"
    for name, array in golden.inputs.items():
        if array.dtype.kind != "f" and array.dtype != np.uint8:
            return f"input {name!r} is {array.dtype}, expected uint8 images or floats"
        if not np.isfinite(array).all():
            return f"input {name!r} has NaN or infinite values"
    return None


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
    before, after = golden.inputs, current.inputs
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            return f"{path}: input {name!r} is {'new' if name not in before else 'gone'}. {_RENEW}"
        if before[name].shape != after[name].shape or before[name].dtype != after[name].dtype:
            return f"{path}: input {name!r} is {_kind(after[name])}, in the golden file {_kind(before[name])}. {_RENEW}"
        if not np.array_equal(before[name], after[name]):
            return f"{path} was made with other inputs ({name!r} differs), so its outputs cannot be compared. {_RENEW}"
    try:
        wanted, found = (golden_outputs(one.arrays, "torch") for one in (golden, current))
        parts = compare_ports(wanted, found)
    except DataError as error:
        return f"{path}: {error} {_RENEW}"
    name = worst_output(parts)
    level = parts[name].sqnr_db
    if level is None or level >= _SAME_DB:
        return None
    place, expected, got = _largest(wanted[name], found[name])
    return (
        f"PyTorch's outputs differ from {path}: {level:.1f} dB of SQNR where {_SAME_DB:.0f} are needed, most at "
        f"{name}{place}: {got:.6g} instead of {expected:.6g}. {_RENEW}"
    )


def _kind(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _largest(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[list[int], float, float]:
    """Place (the case first), expected and found value of the largest difference."""
    errors = np.abs(np.asarray(found, np.float64) - wanted)
    place = np.unravel_index(int(errors.argmax()), errors.shape)
    return [int(i) for i in place], float(wanted[place]), float(found[place])
