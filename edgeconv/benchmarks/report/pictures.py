"""Sample pictures from a bundle's golden cases: what went in, what PyTorch and the runtime said, their difference."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.outputs import MAX_CASES, RunOutputs
from edgeconv.bundles import Bundle
from edgeconv.errors import BundleError
from edgeconv.manifest import Port
from edgeconv.records import Result, RunRecord

__all__ = ["Picture", "Sample", "samples_of"]

_MAX_SIDE = 256
_NO_METADATA: dict[str, Any] = {"Software": None}  # the same bytes from every version of matplotlib

_Image = npt.NDArray[np.float64]  # (H, W) or (H, W, 3)


def _probability(logits: _Image) -> _Image:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


# Task metrics whose outputs are logits of a mask; everything else is shown as it is.
_VIEWS: dict[str, Callable[[_Image], _Image]] = {"dice": _probability, "iou": _probability}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A small PNG as a data URI, with what its brightness means."""

    title: str
    scale: str
    uri: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """The pictures of one golden case and one output port."""

    title: str
    pictures: list[Picture]


def samples_of(bundle: Bundle, records: Sequence[RunRecord], outputs: Mapping[str, RunOutputs]) -> list[Sample]:
    """Pictures of the first golden cases, for each output that is an image of one or three channels; else none.

    Of each of the bundle's runs whose outputs are known by run id, the artefact that is furthest from PyTorch is shown;
    where none is known, the reference that int8 artefacts are lowered from.

    Raises:
        BundleError: the golden cases are no readable archive.
    """
    source = next((port for port in bundle.manifest.inputs if _is_image(port)), None)
    ports = [port for port in bundle.manifest.outputs if _is_image(port)]
    if source is None or not ports:
        return []
    view = _VIEWS.get(bundle.manifest.metric or "", lambda image: image)
    arrays = bundle.golden_arrays()
    try:
        return [
            sample
            for port in ports
            for sample in _samples(arrays, source, port, view, _returned(bundle, records, outputs, arrays, port))
        ]
    except (ValueError, KeyError) as error:
        raise BundleError(f"{bundle.golden} cannot be used: {error}.", "Export the bundle again.") from error


def _returned(
    bundle: Bundle,
    records: Sequence[RunRecord],
    outputs: Mapping[str, RunOutputs],
    golden: Mapping[str, npt.NDArray[np.float64]],
    port: Port,
) -> dict[str, npt.NDArray[np.float64]]:
    """By name, what is to be set beside PyTorch's output."""
    found = {}
    for record in records:
        known = outputs.get(record.run_id, {})
        wanted = golden[f"torch.{port.name}"].shape[1:]
        there = [
            result
            for result in record.results
            if result.drift is not None
            and record.manifest_sha256 == bundle.manifest_sha256
            and port.name in known.get((result.runtime, result.precision), {})
            and known[result.runtime, result.precision][port.name].shape[1:] == wanted
        ]
        if there:
            furthest = min(there, key=_total_sqnr_db)
            where = f" on {record.device}" if len(outputs) > 1 else ""
            name = f"{furthest.runtime} {furthest.precision}{where}"
            found[name] = known[furthest.runtime, furthest.precision][port.name]
    reference = golden.get(f"qdq.{port.name}")
    return found if found or reference is None else {"int8 reference": reference}


def _total_sqnr_db(result: Result) -> float:
    sqnr_db = result.drift.total.sqnr_db if result.drift is not None else None
    return math.inf if sqnr_db is None else sqnr_db


def _samples(
    golden: Mapping[str, npt.NDArray[np.float64]],
    source: Port,
    port: Port,
    view: Callable[[_Image], _Image],
    returned: Mapping[str, npt.NDArray[np.float64]],
) -> Iterator[Sample]:
    inputs, torch = golden[f"input.{source.name}"], golden[f"torch.{port.name}"]
    for case in range(min(len(torch), MAX_CASES)):
        image, reference = _image(inputs[case]), view(_image(torch[case]))
        low, high = _range(reference)
        pictures = [
            _picture("Input", image, *((0.0, 255.0) if source.dtype == "uint8" else _range(image))),
            _picture("PyTorch", reference, low, high),
        ]
        for name, arrays in returned.items():
            if case < len(arrays):
                shown = view(_image(arrays[case]))
                pictures += [_picture(name, shown, low, high), _difference(reference, shown)]
        yield Sample(f"{port.name}, case {case + 1}", pictures)


def _is_image(port: Port) -> bool:
    return len(port.shape) == 4 and port.layout == "NCHW" and port.shape[1] in (1, 3) and min(port.shape[2:]) >= 8


def _image(batch: npt.NDArray[np.float64]) -> _Image:
    """The first image of (N, C, H, W) as (H, W) or (H, W, 3)."""
    image = batch[0].astype(np.float64)
    return image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, -1)


def _range(image: _Image) -> tuple[float, float]:
    """0…1 where the values are such, else their own."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (0.0, 1.0) if low >= -0.05 and high <= 1.05 else (low, high)


def _picture(title: str, image: _Image, low: float, high: float) -> Picture:
    shown = (_shrunk(image) - low) / max(high - low, 1e-12)
    return Picture(title, f"{low:.3g} to {high:.3g}", _png(shown))


def _difference(reference: _Image, quantised: _Image) -> Picture:
    """Largest absolute difference over the channels; white is the greatest one."""
    difference = np.abs(quantised - reference)
    if difference.ndim == 3:
        difference = difference.max(axis=-1)
    greatest = float(np.nanmax(difference, initial=0.0))
    return _picture("|difference|", difference, 0.0, greatest)


def _shrunk(image: _Image) -> _Image:
    """Mean over square blocks so that no side exceeds `_MAX_SIDE`."""
    step = -(-max(image.shape[:2]) // _MAX_SIDE)
    height, width = (side // step * step for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // step, step, width // step, step, -1)
    shrunk: _Image = blocks.mean(axis=(1, 3))
    return shrunk[..., 0] if image.ndim == 2 else shrunk


def _png(image: _Image) -> str:
    from matplotlib.image import imsave

    levels = np.round(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    stream = io.BytesIO()
    rgb = np.repeat(levels[..., None], 3, axis=-1) if levels.ndim == 2 else levels
    imsave(stream, rgb, format="png", metadata=_NO_METADATA)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
