"""Numbers as text: the unit stands in the column's head, so none is printed here."""

from __future__ import annotations

__all__ = ["decibels", "megabytes", "metric", "milliseconds", "percent"]


def milliseconds(nanoseconds: float, like: float | None = None) -> str:
    """``16.42``; below a millisecond one digit more.  `like`: with as many digits as that number of nanoseconds has."""
    value = nanoseconds / 1e6
    return f"{value:,.2f}" if (nanoseconds if like is None else like) >= 1e6 else f"{value:.3f}"


def megabytes(size_bytes: float) -> str:
    """``8.8``, with 1 MB = 10^6 bytes; below one megabyte three digits."""
    value = size_bytes / 1e6
    return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.3f}"


def decibels(value_db: float) -> str:
    """``31.3``."""
    return f"{value_db:.1f}"


def metric(value: float) -> str:
    """Four significant digits, trailing zeros kept so that a column lines up: ``0.7810``, ``28.31``."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:#.4g}"


def percent(fraction: float) -> str:
    """A signed change: ``+0.20``, ``-1.35``."""
    return f"{100 * fraction:+.2f}"
