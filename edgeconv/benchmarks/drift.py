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

__all__ = [
    "IDENTICAL",
    "Outputs",
    "compare_outputs",
    "compare_ports",
    "drift_by_port",
    "golden_outputs",
    "worst_drift",
    "worst_output",
    "worst_port",
]

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


def drift_by_port(
    golden: Mapping[str, npt.NDArray[Any]], outputs: Outputs, precision: str, qdq_reference: str = "qdq"
) -> dict[str, Drift]:
    """The drift of what a runtime returned for the golden cases, in its parts, by output port.

    The reference that the runtime's part starts from is the Q/DQ graph computed in float for int8, which
    `qdq_reference` names (`Artifact.reference`), else ONNX fp32.

    Raises:
        DataError: an output is missing, has another shape, is no float, or is not finite.
    """
    torch, onnx = golden_outputs(golden, "torch"), golden_outputs(golden, "onnx")
    quantised = precision in _QUANTISED
    reference = golden_outputs(golden, qdq_reference) if quantised else onnx
    export = compare_ports(torch, onnx)
    quantisation = compare_ports(onnx, reference) if quantised else dict.fromkeys(torch, IDENTICAL)
    runtime, total = compare_ports(reference, outputs), compare_ports(torch, outputs)
    start = compare_ports(torch, reference) if quantised else export
    return {name: Drift(export[name], quantisation[name], runtime[name], total[name], start[name]) for name in torch}


def worst_drift(ports: Mapping[str, Drift]) -> Drift:
    """Of each part that of the port which it is worst in; `reference` is that of the port of `total`."""
    total = worst_port(ports, "total")
    return Drift(
        export=ports[worst_port(ports, "export")].export,
        quantisation=ports[worst_port(ports, "quantisation")].quantisation,
        runtime=ports[worst_port(ports, "runtime")].runtime,
        total=ports[total].total,
        reference=ports[total].reference,
    )


def worst_port(ports: Mapping[str, Drift], part: str) -> str:
    """The port whose `part` of the drift ("export", "total", …) has the lowest SQNR."""
    return worst_output({name: getattr(drift, part) for name, drift in ports.items()})


def worst_output(parts: Mapping[str, DriftPart]) -> str:
    """The port with the lowest SQNR."""
    levels = {name: math.inf if part.sqnr_db is None else part.sqnr_db for name, part in parts.items()}
    return min(levels, key=lambda name: levels[name])


def compare_outputs(reference: Outputs, outputs: Outputs) -> DriftPart:
    """The difference of `outputs` to `reference` in the port with the lowest SQNR; see `compare_ports`.

    Raises:
        DataError: as `compare_ports`.
    """
    parts = compare_ports(reference, outputs)
    return parts[worst_output(parts)]


def compare_ports(reference: Outputs, outputs: Outputs) -> dict[str, DriftPart]:
    """The difference of `outputs` to `reference` by port, each over all cases, computed in float64.

    Ports are not pooled, for one with large values would hide another that is wrong.  Only a port whose reference is
    zero throughout has no scale of its own: it is given the mean power of the quietest other port.  NaN, infinity and
    wrong shapes come first: no figure is made of them.

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
        {name: np.asarray(arrays[name], np.float64).ravel() for name in reference} for arrays in (reference, outputs)
    )
    powers = (float(array @ array) / max(array.size, 1) for array in wanted.values())
    quietest = min((power for power in powers if power), default=0.0)
    return {name: _part(wanted[name], found[name], quietest) for name in reference}


def _part(wanted: npt.NDArray[np.float64], found: npt.NDArray[np.float64], quietest: float) -> DriftPart:
    error = found - wanted
    noise = float(error @ error)
    if noise == 0:
        return IDENTICAL
    signal, power = float(wanted @ wanted), float(found @ found)
    magnitude = np.abs(error)
    return DriftPart(
        max_abs=float(magnitude.max()),
        mean_abs=float(magnitude.mean()),
        sqnr_db=sqnr_db(signal or quietest * wanted.size, noise),
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
