"""How far two sets of outputs are apart, and in which stage the distance arose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.records import Drift, DriftPart
from edgeconv.sqnr import sqnr_db

__all__ = ["IDENTICAL", "Outputs", "compare_outputs", "drift_of", "golden_outputs"]

Outputs = Mapping[str, npt.NDArray[Any]]
IDENTICAL = DriftPart(max_abs=0.0, mean_abs=0.0, sqnr_db=None, cosine=1.0)
_QUANTISED = ("int8",)
_TINY = np.finfo(np.float64).tiny


def golden_outputs(golden: Mapping[str, npt.NDArray[Any]], reference: str) -> dict[str, npt.NDArray[Any]]:
    """The outputs of `reference` ("torch", "onnx", "qdq", "qdq+float") in the golden cases, by port.

    Raises:
        DataError: there are none.
    """
    prefix = f"{reference}."
    found = {name[len(prefix) :]: array for name, array in golden.items() if name.startswith(prefix)}
    if not found:
        raise DataError(f"The golden cases hold no outputs of the {reference} reference.", "Export the bundle again.")
    return found


def drift_of(
    golden: Mapping[str, npt.NDArray[Any]], outputs: Outputs, precision: str, qdq_reference: str = "qdq"
) -> Drift:
    """The drift of what a runtime returned for the golden cases, in its parts.

    The reference that the runtime's part starts from is the Q/DQ graph computed in float for int8, which
    `qdq_reference` names (`Artifact.reference`), else ONNX fp32.

    Raises:
        DataError: an output is missing, has another shape, is no float, or is not finite.
    """
    torch, onnx = golden_outputs(golden, "torch"), golden_outputs(golden, "onnx")
    quantised = precision in _QUANTISED
    reference = golden_outputs(golden, qdq_reference) if quantised else onnx
    export = compare_outputs(torch, onnx)
    return Drift(
        export=export,
        quantisation=compare_outputs(onnx, reference) if quantised else IDENTICAL,
        runtime=compare_outputs(reference, outputs),
        total=compare_outputs(torch, outputs),
        reference=compare_outputs(torch, reference) if quantised else export,
    )


def compare_outputs(reference: Outputs, outputs: Outputs) -> DriftPart:
    """The difference of `outputs` to `reference`, pooled over all ports and cases, computed in float64.

    NaN, infinity and wrong shapes come first: no figure is made of them.

    Raises:
        DataError: a port is missing or extra, has another shape, is no float, or is not finite; it is told which,
            where and how many.
    """
    if sorted(reference) != sorted(outputs):
        raise DataError(f"Outputs {', '.join(outputs)} were returned, {', '.join(reference)} were expected.")
    for name, expected in reference.items():
        _check(name, expected.shape, outputs[name])
        _check(name, expected.shape, expected)
    wanted, found = (
        np.concatenate([np.asarray(arrays[name], np.float64).ravel() for name in reference])
        for arrays in (reference, outputs)
    )
    error = found - wanted
    noise = float(error @ error)
    if noise == 0:
        return IDENTICAL
    signal, power = float(wanted @ wanted), float(found @ found)
    magnitude = np.abs(error)
    return DriftPart(
        max_abs=float(magnitude.max()),
        mean_abs=float(magnitude.mean()),
        sqnr_db=sqnr_db(signal, noise),
        cosine=float(wanted @ found) / max(math.sqrt(signal) * math.sqrt(power), _TINY),
    )


def _check(name: str, shape: tuple[int, ...], array: npt.NDArray[Any]) -> None:
    if array.shape != shape:
        raise DataError(f"Output {name!r} has shape {list(array.shape)}, expected {list(shape)}.")
    if array.dtype.kind != "f":
        raise DataError(f"Output {name!r} is {array.dtype}, expected floats.")
    broken = ~np.isfinite(array)
    count = int(np.count_nonzero(broken))
    if count:
        nans = int(np.count_nonzero(np.isnan(array)))
        case, *index = (int(i) for i in np.unravel_index(int(broken.argmax()), broken.shape))
        raise DataError(
            f"Output {name!r} has {count} NaN or infinite values of {array.size} ({nans} NaN), "
            f"the first in case {case} at {index}."
        )
