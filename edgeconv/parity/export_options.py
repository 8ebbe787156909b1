"""The options of an export as a test gives them: one name where several may stand, a path as text, NumPy's numbers."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions

__all__ = ["read_options"]

_OURS = {"model", "output", "force", "pack"}


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options in the types of `ExportOptions`.

    Raises:
        UsageError: an option is unknown, has another type, or names several devices, each of which has its own bundle.
    """
    hints = typing.get_type_hints(ExportOptions)
    known = {field.name for field in dataclasses.fields(ExportOptions)} - _OURS
    unknown = sorted(set(given) - known)
    if unknown:
        raise UsageError(f"No export option is called {unknown[0]!r}.", f"There are: {', '.join(sorted(known))}.")
    options = {name: _read(name, value, hints[name]) for name, value in given.items()}
    devices = options.get("devices", ())
    if len(devices) > 1:
        raise UsageError(
            f"Each device has a bundle of its own, and one is judged; devices names {', '.join(devices)}.",
            "Assert the parity of each by itself.",
        )
    return options


def _read(name: str, value: Any, hint: Any) -> Any:
    kinds = (hint,) if hint in _READERS else typing.get_args(hint)
    if value is None and NoneType in kinds:
        return None
    read, words = next(_READERS[kind] for kind in kinds if kind in _READERS)
    try:
        return read(value)
    except TypeError:
        raise UsageError(f"The export option {name} is {value!r}, expected {words}.") from None


def _text(value: Any) -> str:
    if not isinstance(value, str | Path):
        raise TypeError
    return str(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _several(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_all(value: Any) -> tuple[Any, ...]:
        is_one = isinstance(value, str | Path) or not isinstance(value, Iterable)
        return tuple(read(one) for one in ([value] if is_one else value))

    return read_all


_READERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    str: (_text, "text"),
    Path: (lambda value: Path(_text(value)), "a path"),
    bool: (_flag, "True or False"),
    int: (_integer, "a whole number"),
    float: (_number, "a number"),
    tuple[str, ...]: (_several(_text), "text, or a tuple of such"),
    tuple[float, ...]: (_several(_number), "a number, or a tuple of such"),
}
