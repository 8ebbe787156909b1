"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["listed"]


def listed(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """``a, b and 4 more``: the first `most` of the names; empty for none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more
