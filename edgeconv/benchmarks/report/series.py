"""The artefacts of a record as the plots and tables name and colour them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgeconv.records import Result, RunRecord

__all__ = ["Series", "series_of"]

_COLOURS = 5


@dataclasses.dataclass(frozen=True)
class Series:
    """A result, its name and the palette token of its runtime (see `svg.PALETTE`)."""

    label: str
    colour: str
    result: Result


def series_of(record: RunRecord, page: Sequence[RunRecord]) -> list[Series]:
    """The results of `record` in its order.

    A runtime has the same colour throughout a `page`, and the number of threads is part of the name where it differs
    among the page's records.
    """
    shown = [result for one in page for result in one.results]
    runtimes = sorted({result.runtime for result in shown})
    mixed = len({result.threads for result in shown}) > 1
    return [
        Series(
            f"{result.runtime} {result.precision}" + (f" ×{result.threads}" if mixed else ""),
            f"series-{runtimes.index(result.runtime) % _COLOURS + 1}",
            result,
        )
        for result in record.results
    ]
