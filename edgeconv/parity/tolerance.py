"""The tolerance class of each precision: the defaults, and the user's changes to them."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.manifest import PRECISIONS, Tolerance

__all__ = ["FLOAT_MIN_SQNR_DB", "default_tolerances", "override_tolerances", "split_tolerances"]

FLOAT_MIN_SQNR_DB = 80.0
"""What differs only in the order of sums is at least as near."""

# A float graph is the same function up to the order of sums; fp16 keeps 11 bits of every weight; int8 is judged by what
# it loses against PyTorch and by whether a runtime's kernels lose more than the Q/DQ graph itself does.
_DEFAULTS = (
    Tolerance(
        precision="fp32",
        export_min_sqnr_db=90.0,
        runtime_min_sqnr_db=FLOAT_MIN_SQNR_DB,
        total_min_sqnr_db=FLOAT_MIN_SQNR_DB,
        total_max_loss_to_reference_db=None,
        max_metric_drop=0.01,
    ),
    Tolerance(
        precision="fp16",
        export_min_sqnr_db=90.0,
        runtime_min_sqnr_db=50.0,
        total_min_sqnr_db=None,
        total_max_loss_to_reference_db=None,
        max_metric_drop=0.01,
    ),
    Tolerance(
        precision="int8",
        export_min_sqnr_db=90.0,
        runtime_min_sqnr_db=None,
        total_min_sqnr_db=28.0,
        total_max_loss_to_reference_db=0.3,
        max_metric_drop=0.01,
    ),
)

_APPROXIMATED_MIN_DB = 28.0

_BOUNDS = tuple(field.name for field in dataclasses.fields(Tolerance) if field.name != "precision")
_FORM = "Write PRECISION.BOUND=VALUE, like int8.total_min_sqnr_db=28, or =none to leave it unjudged."


def default_tolerances(equivalence: str = "exact") -> list[Tolerance]:
    """One for each precision.

    Where the graph only approximates the model ("approximated": a smaller rank, gates in fewer bytes), that it is near
    PyTorch is judged as an int8 graph is; how near a runtime keeps to the graph, as ever.
    """
    if equivalence == "exact":
        return list(_DEFAULTS)
    return [
        dataclasses.replace(
            tolerance,
            export_min_sqnr_db=_APPROXIMATED_MIN_DB,
            total_min_sqnr_db=None if tolerance.total_min_sqnr_db is None else _APPROXIMATED_MIN_DB,
        )
        for tolerance in _DEFAULTS
    ]


def split_tolerances(given: object) -> tuple[list[Tolerance], list[str]]:
    """What a test gives, one or several or None, as classes and as words for `override_tolerances`.

    Raises:
        UsageError: an item is neither, or a class has no such precision or a bound that is no number.
    """
    alone = given is None or isinstance(given, str | Tolerance) or not isinstance(given, Iterable)
    items = [item for item in ([given] if alone else given) if item is not None]  # type: ignore[attr-defined]
    for item in items:
        if isinstance(item, Tolerance):
            _known(str(item.precision), PRECISIONS, f"{item}: no precision")
            for bound in _BOUNDS:
                value = getattr(item, bound)
                if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
                    raise UsageError(f"The bound {bound} of the tolerance {item.precision} is {value!r}, no number.")
        elif not isinstance(item, str):
            raise UsageError(f"The tolerance {item!r} is neither words nor a Tolerance.", _FORM)
    words = [item for item in items if isinstance(item, str)]
    override_tolerances((), words)
    return [item for item in items if isinstance(item, Tolerance)], words


def override_tolerances(tolerances: Iterable[Tolerance], overrides: Sequence[str]) -> list[Tolerance]:
    """The default classes, `tolerances` in the place of those of the same precision, then `overrides` on top.

    Args:
        tolerances: for example those of a bundle's manifest.
        overrides: each like ``int8.total_min_sqnr_db=28``; ``none`` leaves a bound unjudged.

    Raises:
        UsageError: an override has another form, or names no precision or bound (near names are suggested).
    """
    classes = {tolerance.precision: tolerance for tolerance in [*_DEFAULTS, *tolerances]}
    for text in overrides:
        key, equals, value = text.partition("=")
        precision, dot, bound = key.strip().partition(".")
        if not equals or not dot:
            raise UsageError(f"The tolerance {text!r} cannot be read.", _FORM)
        _known(precision, sorted({*PRECISIONS, *classes}), f"{text!r}: no precision")
        _known(bound, _BOUNDS, f"{text!r}: no bound")
        changed: dict[str, Any] = {bound: _number(text, value.strip())}
        classes[precision] = dataclasses.replace(classes[precision], **changed)
    return list(classes.values())


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=2, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names)}."
        raise UsageError(f"{what} is called {name!r}.", hint)


def _number(text: str, value: str) -> float | None:
    if value.lower() == "none":
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"The tolerance {text!r} has no number.", _FORM)
    return number
