"""A point-spread function that varies smoothly over the field, and the blur that it makes."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

__all__ = ["PSF_RADIUS_PX", "blur", "psf_at", "psf_covariance"]

PSF_RADIUS_PX = 8  # kernels are square, 2 * radius + 1 wide; the widest standard deviation is 2.8 px

_Float = npt.NDArray[np.float32]
_Double = npt.NDArray[np.float64]


def psf_covariance(row: npt.ArrayLike, column: npt.ArrayLike) -> tuple[_Double, _Double, _Double]:
    """Covariance (yy, xx, yx) in px^2 of the Gaussian PSF at a point of the field.

    Args:
        row: position in -1 (top) … 1 (bottom).
        column: position in -1 (left) … 1 (right).

    The lens is sharpest a little to the left above the middle.  Away from there a point becomes a streak along
    the circle around it (sagittal astigmatism), a weaker one along the radius, and the right side is out of
    focus as with a tilted sensor.  Every term is a polynomial in the position, so the field is smooth.
    """
    y = np.asarray(row, dtype=np.float64) + 0.15
    x = np.asarray(column, dtype=np.float64) + 0.2
    r2 = x * x + y * y
    focus = 0.4 + 0.5 * (0.5 + 0.5 * x) ** 2
    # sigma^2 = focus + radial r^2 along the radius, focus + tangential r^2 along the circle
    radial, tangential = 0.35, 2.6
    yy = focus + radial * y * y + tangential * x * x
    xx = focus + radial * x * x + tangential * y * y
    yx = (radial - tangential) * x * y
    return yy, xx, np.asarray(yx + 0 * r2)


def psf_at(row: float, column: float) -> _Float:
    """The PSF at a point of the field (coordinates in -1 … 1): a (2r+1)x(2r+1) kernel that sums to 1."""
    offsets = np.arange(-PSF_RADIUS_PX, PSF_RADIUS_PX + 1, dtype=np.float64)
    kernel = _gaussian(offsets[:, None], offsets[None, :], psf_covariance(row, column))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def blur(image: _Float) -> _Float:
    """Image through the lens: each pixel of the scene spreads its light by the PSF of its own place.

    Args:
        image: (H + 2r)x(W + 2r) float32 with r = `PSF_RADIUS_PX`; the margin lies outside of the sensor and only
            lends light to it.

    Returns:
        HxW float32, the light that reaches the sensor, whose corners are (-1, -1) and (1, 1).
    """
    r = PSF_RADIUS_PX
    height, width = image.shape[0] - 2 * r, image.shape[1] - 2 * r
    out = np.zeros((height, width), dtype=np.float32)
    term = np.empty_like(out)
    # A Gaussian is even, so the kernels of +offset and -offset are one array.
    for (dy, dx), weight in _weights(height, width):
        for sy, sx in {(dy, dx), (-dy, -dx)}:
            # light from p lands on p + (sy, sx)
            rows = slice(r - sy, r - sy + height)
            columns = slice(r - sx, r - sx + width)
            np.multiply(image[rows, columns], weight[rows, columns], out=term)
            out += term
    return out


@functools.lru_cache(maxsize=2)
def _weights(height: int, width: int) -> list[tuple[tuple[int, int], _Float]]:
    """For every offset of one half-plane, the weight of each source pixel, margin included."""
    r = PSF_RADIUS_PX
    row = (np.arange(-r, height + r) * 2.0 / (height - 1) - 1)[:, None]
    column = (np.arange(-r, width + r) * 2.0 / (width - 1) - 1)[None, :]
    covariance = psf_covariance(row, column)
    offsets = [(dy, dx) for dy in range(r + 1) for dx in range(-r, r + 1) if dy > 0 or dx >= 0]
    weights = [_gaussian(float(dy), float(dx), covariance) for dy, dx in offsets]
    total = np.zeros((height + 2 * r, width + 2 * r))
    for offset, weight in zip(offsets, weights, strict=True):
        total += weight if offset == (0, 0) else 2 * weight
    return [
        (offset, np.asarray(weight / total, dtype=np.float32)) for offset, weight in zip(offsets, weights, strict=True)
    ]


def _gaussian(dy: float | _Double, dx: float | _Double, covariance: tuple[_Double, _Double, _Double]) -> _Double:
    yy, xx, yx = covariance
    determinant = yy * xx - yx * yx
    return np.asarray(np.exp(-0.5 * (xx * dy * dy - 2 * yx * dy * dx + yy * dx * dx) / determinant))
