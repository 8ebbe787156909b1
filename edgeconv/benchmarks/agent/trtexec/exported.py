"""The JSON files that `trtexec` exports.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import json
import re
from typing import Any

from edgeconv.errors import RuntimeUnavailableError

__all__ = ["read_json"]

# A C++ stream prints these; Python's JSON wants NaN and Infinity.
_NUMBERS = re.compile(r"(?<![\w\"])(-?)(nan|inf)(?![\w\"])")
_WORDS = {"nan": "NaN", "inf": "Infinity"}


def read_json(text: str, what: str) -> Any:
    """The document; "nan" and "inf" are numbers.

    Raises:
        RuntimeUnavailableError: it is cut off or no JSON.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        pass
    try:
        return json.loads(_NUMBERS.sub(_number, text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise RuntimeUnavailableError(f"trtexec wrote {what} that cannot be read: {error}.") from error


def _number(match: re.Match[str]) -> str:
    word = _WORDS[match.group(2)]
    return word if word == "NaN" else match.group(1) + word
