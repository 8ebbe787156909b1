"""Which TensorRT a `trtexec` belongs to.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

__all__ = ["Version", "parse_version"]

_BANNER = re.compile(r"TensorRT\.trtexec \[TensorRT v(?P<number>[0-9][0-9.]*)\]")
_TEN = 100000  # from 10 on the major version takes another digit: v8602 is 8.6.2, v100300 is 10.3.0


class Version(NamedTuple):
    """Of TensorRT."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Optional[Version]:
    """The version in a `trtexec` banner, such as ``&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b30] # …``.

    None: there is no banner in `text`.
    """
    match = _BANNER.search(text)
    if match is None:
        return None
    number = match.group("number")
    if "." in number:
        parts = [int(part) for part in number.split(".") if part]
        return Version(*[*parts, 0, 0][:3])
    value = int(number)
    unit = 10000 if value >= _TEN else 1000
    return Version(value // unit, value % unit // 100, value % 100)
