"""Typed JSON: frozen dataclasses in, checked frozen dataclasses out.

Manifests, run records and device profiles all pass through these two functions, on the host and on the device, so a
file with a missing, an unknown or a wrongly typed key is refused in one place.  Part of the device agent: Python 3.8,
standard library only, hence not a validation library.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import types
import typing
from typing import Any, Dict, List, Type, TypeVar

from edgeconv.errors import EdgeconvError

__all__ = ["SchemaError", "from_dict", "refuse_newer", "to_dict", "to_json"]

_T = TypeVar("_T")
_UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))  # `X | None` is a type of its own since 3.10


class SchemaError(ValueError):
    """A value does not have the declared type; the message names the path to it."""


def from_dict(cls: Type[_T], value: Any, path: str = "") -> _T:
    """Build the dataclass `cls` from plain JSON values.

    Supported field types: str, int, float, bool, dataclasses, Optional, List[...], tuples of one type, Dict[str, ...]
    and Mapping[str, ...].

    Raises:
        SchemaError: a key is missing or unknown, or a value has another type than declared.
    """
    if not isinstance(value, dict):
        raise SchemaError(f"{path or 'document'}: expected an object, found {_kind(value)}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise SchemaError(f"{path or 'document'}: unknown key {unknown[0]!r}, expected {', '.join(fields)}")
    kwargs: Dict[str, Any] = {}
    for name, field in fields.items():
        where = f"{path}.{name}" if path else name
        if name in value:
            kwargs[name] = _convert(hints[name], value[name], where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SchemaError(f"{path or 'document'}: missing key {name!r}")
    return cls(**kwargs)


def refuse_newer(document: Any, newest: int, source: str, error: Type[EdgeconvError]) -> None:
    """Raise `error` where a JSON document says that it has a later schema version than `newest`."""
    found = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(found, int) and found > newest:
        raise error(f"{source} has schema version {found}, this edgeconv reads up to {newest}.", "Update edgeconv.")


def to_dict(value: Any) -> Dict[str, Any]:
    """The plain JSON form of a dataclass; non-finite floats become None, which is how JSON can say "no number"."""
    plain = _plain(dataclasses.asdict(value))
    return typing.cast(Dict[str, Any], plain)


def to_json(value: Any) -> str:
    """`to_dict` as indented JSON with a final newline; keys stay in declaration order."""
    return json.dumps(to_dict(value), indent=1, allow_nan=False) + "\n"


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        if value is None:
            if type(None) in arguments:
                return None
            raise SchemaError(f"{path}: expected a value, found null")
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if origin is list:
        if not isinstance(value, list):
            raise SchemaError(f"{path}: expected a list, found {_kind(value)}")
        return [_convert(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value)]
    if origin is tuple:
        items = _convert(List[arguments[0]], value, path)  # type: ignore[valid-type]
        if arguments[-1] is not ... and len(items) != len(arguments):
            raise SchemaError(f"{path}: expected {len(arguments)} values, found {len(items)}")
        return tuple(items)
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            raise SchemaError(f"{path}: expected an object, found {_kind(value)}")
        return {str(k): _convert(arguments[1], item, f"{path}.{k}") for k, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(Any, hint), value, path)
    return _scalar(hint, value, path)


def _scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise SchemaError(f"{path}: expected float, found an integer beyond it") from None
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise SchemaError(f"{path}: expected {hint.__name__}, found {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
