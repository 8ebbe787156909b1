"""The test filters: 50 x 50 samples of [-1, 1] x [-1, 1], end points included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError

__all__ = ["Kernel", "filter_names", "make_filter"]

Kernel = npt.NDArray[np.float64]
_Shape = Callable[[Kernel, Kernel], Kernel]


def _box(x: Kernel, y: Kernel) -> Kernel:
    return np.asarray((np.abs(x) < 0.7) & (np.abs(y) < 0.7), np.float64)


def _gauss(x: Kernel, y: Kernel) -> Kernel:
    return np.asarray(np.exp(-5 * (x**2 + y**2)), np.float64)


def _circle(x: Kernel, y: Kernel) -> Kernel:
    return np.asarray(x**2 + y**2 < 0.8, np.float64)


def _exponential(x: Kernel, y: Kernel) -> Kernel:
    return np.asarray(np.exp(-3 * np.hypot(x, y)), np.float64)


def _hexagon(x: Kernel, y: Kernel) -> Kernel:
    diagonal = 0.9 * np.sqrt(2)
    inside = (np.abs(x) < 0.9) & (np.abs(y) < 0.9) & (np.abs(x + y) < diagonal) & (np.abs(x - y) < diagonal)
    return np.asarray(inside, np.float64)


def _difference_of_gaussians(x: Kernel, y: Kernel) -> Kernel:
    squared = x**2 + y**2
    values = np.exp(-5 * squared) - np.exp(-6 * squared)
    return np.asarray(values / values.max(), np.float64)


_FILTERS: dict[str, _Shape] = {
    "box": _box,
    "gauss": _gauss,
    "circle": _circle,
    "exponential": _exponential,
    "hexagon": _hexagon,
    "dog": _difference_of_gaussians,
}


def filter_names() -> list[str]:
    """The filters that `make_filter` knows."""
    return list(_FILTERS)


def make_filter(name: str, size: int = 50) -> Kernel:
    """A filter of `size` x `size` values; rows run along y.

    Raises:
        UsageError: no such filter, or a size below 2.
    """
    if name not in _FILTERS:
        raise UsageError(f"No filter is called {name!r}.", f"There are: {', '.join(_FILTERS)}.")
    if size < 2:
        raise UsageError(f"A filter of size {size} was asked for; at least 2 is needed.")
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    return _FILTERS[name](x, y)
