"""Resize: nearest and linear, as one TFLite operator where it samples the same places, by indices where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.ops.selection import take
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.window import Pair, lift, lift_size

__all__: list[str] = []

_Floats = npt.NDArray[np.float32]

# (align_corners, half_pixel_centers): what TFLite's two resizing operators can be told.
_FLAGS = ((False, False), (False, True), (True, False))

_HALF = np.float32(0.5)

_ROUNDING: dict[str, Callable[[_Floats], _Floats]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - _HALF),
    "round_prefer_ceil": lambda x: np.floor(x + _HALF),
}


def _samples_in_int8(op: Op) -> bool:
    # XNNPACK's int8 kernel is exact; the runtime's own rounds positions to 1/1024 of a step, so without XNNPACK factors
    # that are no power of two can come out 2 or 3 steps of the quantiser off.
    source = op.input_quantiser(0)
    if op.attr("mode", "nearest") == "nearest":
        return True
    return source is not None and op.quantiser is not None and op.quantiser.covers(source)


@lowers("Resize", data=slice(1), int8_if=_samples_in_int8)
def _resize(op: Op) -> Operand:
    mode = op.attr("mode", "nearest")
    if mode not in ("nearest", "linear"):
        op.refuse(f"its mode is {mode}", "Use bilinear or nearest interpolation.")
    if op.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        op.refuse("it crops while it resizes", "Crop in a layer of its own.")
    x = op.emitter.requantise(op.operand(0), op.quantiser)
    shape = op.output_shape()
    positions = [_positions(op, axis, size, shape[axis]) for axis, size in enumerate(x.shape)]
    if mode == "nearest":
        return _nearest(op, x, positions)
    if x.shape[:2] != shape[:2]:
        op.refuse("it interpolates between channels or batches", "Resize the spatial axes only.")
    if op.attr("antialias", 0) and any(new < old for new, old in zip(shape, x.shape, strict=True)):
        op.refuse("it shrinks with an antialiasing filter", "Use antialias=False, or an average pool.")
    lifted = lift(op, x, "a linear resize")
    size, output = (lifted.shape[2], lifted.shape[3]), lift_size(shape)
    wanted = positions[2:] if len(positions) == 4 else [np.zeros(1, np.float32), positions[2]]
    flags = next((flags for flags in _FLAGS if _samples_alike(wanted, size, output, *flags)), None)
    if flags is None:
        op.refuse(
            f"TFLite cannot sample {size} to {output} at the same places",
            "Give it the output size instead of a scale factor, or a factor that gives whole sizes.",
        )
    options = schema.ResizeBilinearOptionsT()
    options.alignCorners, options.halfPixelCenters = flags
    return _emit(op, "RESIZE_BILINEAR", lifted, options)


def _samples_alike(wanted: Sequence[_Floats], size: Pair, output: Pair, align: bool, half: bool) -> bool:
    for positions, length, count in zip(wanted, size, output, strict=True):
        given = _tflite_positions(length, count, align, half)
        if not np.allclose(_inside(given, length), _inside(positions, length), atol=1e-5 * length):
            return False
    return True


def _nearest(op: Op, x: Operand, positions: list[_Floats]) -> Operand:
    shape = op.output_shape()
    rounding = _ROUNDING[op.attr("nearest_mode", "round_prefer_floor")]
    indices = [np.clip(rounding(p), 0, n - 1).astype(int) for p, n in zip(positions, x.shape, strict=True)]
    if len(shape) in (3, 4) and x.shape[:2] == shape[:2]:
        for align, half in _FLAGS:
            given = [_tflite_nearest(n, m, align, half) for n, m in zip(x.shape[2:], shape[2:], strict=True)]
            if all(np.array_equal(a, b) for a, b in zip(given, indices[2:], strict=True)):
                options = schema.ResizeNearestNeighborOptionsT()
                options.alignCorners, options.halfPixelCenters = align, half
                return _emit(op, "RESIZE_NEAREST_NEIGHBOR", lift(op, x, "a nearest resize"), options)
    for axis, chosen in enumerate(indices):
        if len(chosen) != x.shape[axis] or np.any(np.diff(chosen) != 1):
            x = take(op, x, axis, chosen.tolist())
    return x


def _emit(op: Op, code: str, x: Operand, options: Any) -> Operand:
    output = lift_size(op.output_shape())
    inputs = [x.tensor, op.emitter.constant(output, label="size")]
    tensor = op.emitter.emit(code, inputs, (x.shape[0], *output, x.shape[1]), op.quantiser, options)
    return op.emitter.reshape(Operand(tensor, (*x.shape[:2], *output), NHWC), op.output_shape())


def _positions(op: Op, axis: int, size: int, count: int) -> _Floats:
    """Where ONNX samples an axis of `size`, in float32 as ONNX Runtime computes it."""
    index = np.arange(count, dtype=np.float32)
    scale = np.float32(_scale(op, axis, size, count))
    mode = op.attr("coordinate_transformation_mode", "half_pixel")
    if size == count and scale == 1:
        return index
    if mode == "align_corners":
        return np.asarray(index * np.float32(size - 1) / np.float32(max(count - 1, 1)))
    if mode == "asymmetric":
        return np.asarray(index / scale)
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros(1, np.float32)
    shift = size / 2 * (1 - count / (size * float(scale))) if mode == "half_pixel_symmetric" else 0.0
    return np.asarray((index + _HALF) / scale - _HALF + np.float32(shift))


def _scale(op: Op, axis: int, size: int, count: int) -> float:
    axes = [int(value) % len(op.shape(0)) for value in op.attr("axes") or range(len(op.shape(0)))]
    if axis not in axes or not op.has(2) or op.numbers(2, "its scale").size == 0:
        return count / size
    return float(op.numbers(2, "its scale").ravel()[axes.index(axis)])


def _tflite_positions(size: int, count: int, align: bool, half: bool) -> _Floats:
    """Where TFLite samples an axis, in its own float32 arithmetic."""
    corners = align and count > 1
    scale = np.float32(size - 1) / np.float32(count - 1) if corners else np.float32(size) / np.float32(count)
    index = np.arange(count, dtype=np.float32)
    return np.asarray((index + _HALF) * scale - _HALF if half else index * scale)


def _tflite_nearest(size: int, count: int, align: bool, half: bool) -> npt.NDArray[np.int64]:
    """Which entries of an axis TFLite takes."""
    if align:
        places = np.floor(_tflite_positions(size, count, align, half) + _HALF)
    elif half:
        places = np.floor((np.arange(count, dtype=np.float32) + _HALF) * (np.float32(size) / np.float32(count)))
    else:  # the optimised kernel counts in steps of 1/65536
        places = np.arange(count) * ((size << 16) // count + 1) >> 16
    return np.asarray(np.clip(places, 0, size - 1).astype(np.int64))


def _inside(positions: _Floats, size: int) -> _Floats:
    return np.asarray(np.clip(positions, 0, size - 1))
