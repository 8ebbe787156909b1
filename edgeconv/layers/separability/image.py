"""Filtering an image by separable terms, and what that costs beside the whole filter."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError

__all__ = ["Cost", "apply", "break_even_rank", "cost"]

Array = npt.NDArray[np.float64]
_FLOAT_BYTES = 4
_PADDINGS = {"zero": "constant", "edge": "edge", "reflect": "reflect"}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Multiply-accumulates and bytes of float32 intermediate images of one filtered image."""

    macs: int
    dense_macs: int
    intermediate_bytes: int


def cost(rows: int, columns: int, rank: int, height: int, width: int) -> Cost:
    """Of `rank` terms of a rows x columns filter on a height x width image: rank (M + N) taps a pixel against M N."""
    if min(rows, columns, rank, height, width) < 1:
        raise UsageError("Every size and the rank must be at least 1.")
    pixels = height * width
    return Cost(rank * (rows + columns) * pixels, rows * columns * pixels, rank * pixels * _FLOAT_BYTES)


def break_even_rank(rows: int, columns: int) -> float:
    """``M N / (M + N)``: with fewer terms the separable form has fewer taps (25 for 50 x 50, 1.5 for 3 x 3)."""
    return rows * columns / (rows + columns)


def apply(
    image: npt.ArrayLike,
    cols: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    padding: str = "edge",
    flip: bool = False,
    renormalise: bool = False,
) -> Array:
    """Filter an image (H, W) or (H, W, channels) by pairs of columns (R, M) and rows (R, N), keeping its size.

    Args:
        image: any real values; each channel alone.
        cols: vertical filters of odd length, for an even one has no centre.
        rows: horizontal filters of odd length.
        padding: "zero", "edge" or "reflect".
        flip: True convolves; False correlates, as convolution layers of networks do.
        renormalise: divide by the sum of all taps; a truncated filter no longer sums to what the whole one did.

    Raises:
        UsageError: shapes, lengths or the padding do not fit, or the taps sum to zero and are to be renormalised.
    """
    pixels = np.asarray(image, np.float64)
    vertical, horizontal = np.asarray(cols, np.float64), np.asarray(rows, np.float64)
    if pixels.ndim not in (2, 3):
        raise UsageError(f"An image has shape (H, W) or (H, W, channels); found {pixels.shape}.")
    if vertical.ndim != 2 or horizontal.ndim != 2 or len(vertical) != len(horizontal):
        raise UsageError(f"Columns {vertical.shape} and rows {horizontal.shape} are no pairs.")
    if vertical.shape[1] % 2 == 0 or horizontal.shape[1] % 2 == 0:
        raise UsageError(
            f"A filter of {vertical.shape[1]} x {horizontal.shape[1]} has no centre.",
            "Resample it to odd sizes; an even one moves the image by half a pixel.",
        )
    if padding not in _PADDINGS:
        raise UsageError(f"No padding is called {padding!r}.", f"There are: {', '.join(_PADDINGS)}.")
    if flip:
        vertical, horizontal = vertical[:, ::-1], horizontal[:, ::-1]
    if renormalise:
        total = float(np.sum(vertical.sum(1) * horizontal.sum(1)))
        if abs(total) < 1e-12:
            raise UsageError("The taps sum to zero; a filter of differences cannot be renormalised.")
        vertical = vertical / total
    filtered = np.zeros_like(pixels)
    for column, row in zip(vertical, horizontal, strict=True):
        filtered += _along(_along(pixels, row, 1, padding), column, 0, padding)
    return filtered


def _along(pixels: Array, taps: Array, axis: int, padding: str) -> Array:
    """Correlate along one axis."""
    half = len(taps) // 2
    widths = [(half, half) if a == axis else (0, 0) for a in range(pixels.ndim)]
    padded = np.pad(pixels, widths, mode=_PADDINGS[padding])  # type: ignore[call-overload]
    length = pixels.shape[axis]
    result = np.zeros_like(pixels)
    for offset, tap in enumerate(taps):
        window = [slice(None)] * pixels.ndim
        window[axis] = slice(offset, offset + length)
        result += tap * padded[tuple(window)]
    return result
