"""Resize: nearest and linear, as one TFLite operator where it samples the same places, by indices where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.ops.selection import take
from edgeconv.export.tflite.registry import lowers
from edgeconv.export.tflite.window import lift, lift_size

__all__: list[str] = []

_Floats = npt.NDArray[np.float32]

# (align_corners, half_pixel_centers): what TFLite's two resizing operators can be told.
_FLAGS = ((False, False), (False, True), (True, False))

_ROUNDING = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
}


def _samples_in_int8(op: Op) -> bool:
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
    for align, half in _FLAGS:
        options = schema.ResizeBilinearOptionsT()
        options.alignCorners, options.halfPixelCenters = align, half
        given = [_tflite_positions(n, m, align, half) for n, m in zip(size, output, strict=True)]
        if all(
            np.allclose(_inside(a, n), _inside(b, n), atol=1e-5 * n)
            for a, b, n in zip(given, wanted, size, strict=True)
        ):
            return _emit(op, "RESIZE_BILINEAR", lifted, options)
    op.refuse(
        f"TFLite does not sample {lifted.shape[2:]} to {output} where it does",
        "Give it the output size instead of a scale factor, or a factor that gives whole sizes.",
    )


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
    half = np.float32(0.5)
    if size == count and scale == 1:
        return index
    if mode == "align_corners":
        return index * np.float32(size - 1) / np.float32(max(count - 1, 1))
    if mode == "asymmetric":
        return index / scale
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros(1, np.float32)
    centred: _Floats = (index + half) / scale - half
    if mode == "half_pixel_symmetric":
        centred += np.float32(size / 2 * (1 - count / (size * float(scale))))
    return centred


def _scale(op: Op, axis: int, size: int, count: int) -> float:
    axes = [int(value) % len(op.shape(0)) for value in op.attr("axes") or range(len(op.shape(0)))]
    if axis not in axes or not op.has(2) or op.numbers(2, "its scale").size == 0:
        return count / size
    return float(op.numbers(2, "its scale").ravel()[axes.index(axis)])


def _tflite_positions(size: int, count: int, align: bool, half: bool) -> _Floats:
    """Where TFLite samples an axis, in its own float32 arithmetic."""
    scale = (
        np.float32(size - 1) / np.float32(count - 1) if align and count > 1 else np.float32(size) / np.float32(count)
    )
    index = np.arange(count, dtype=np.float32)
    return (index + np.float32(0.5)) * scale - np.float32(0.5) if half else index * scale


def _tflite_nearest(size: int, count: int, align: bool, half: bool) -> npt.NDArray[np.int64]:
    index = np.arange(count)
    if not align and not half:  # the optimised kernel counts in 1/65536
        return np.minimum(index * ((size << 16) // count + 1) >> 16, size - 1)
    if half:
        scale = np.float32(size) / np.float32(count)
        return np.clip(np.floor((index.astype(np.float32) + np.float32(0.5)) * scale), 0, size - 1).astype(np.int64)
    return np.minimum(np.floor(_tflite_positions(size, count, align, half) + np.float32(0.5)), size - 1).astype(
        np.int64
    )


def _inside(positions: _Floats, size: int) -> _Floats:
    return np.clip(positions, 0, size - 1)
