"""A drift report as a file; its suffix says as what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.parity.drift.record import DriftReport
from edgeconv.parity.drift.views import LEGEND, drift_cells, drift_markdown, summary
from edgeconv.schema import to_json

__all__ = ["check_suffix", "write_drift"]

_DRAWING = ".svg"


def write_drift(report: DriftReport, path: Path) -> None:
    """Write `report` whole or not at all.

    Raises:
        UsageError: another suffix than .html, .svg, .md or .json; the packages for drawings are not installed; a
            drawing of a report without layers.
    """
    check_suffix(path, layers=bool(report.layers))
    atomic_write_bytes(path, _WRITERS[path.suffix](report).encode())


def check_suffix(path: Path, *, layers: bool) -> None:
    """Raise `UsageError` for a file that `write_drift` cannot write of a report with or without `layers`."""
    if path.suffix not in _WRITERS:
        raise UsageError(f"{path} has the suffix {path.suffix or 'none'!r}.", f"Use one of {', '.join(_WRITERS)}.")
    if path.suffix == _DRAWING and not layers:
        raise UsageError("A drawing shows layers, and there are none in this report.", "Add --layers, or use .html.")


def _page(report: DriftReport) -> str:
    from edgeconv.benchmarks.report.html import page_environment

    environment = page_environment()
    head, *rows = drift_cells(report)
    svg = _drawing(report) if report.layers else ""
    return environment.get_template("drift.html.j2").render(
        report=report, svg=svg, head=head, rows=rows, summary=summary(report), legend=LEGEND
    )


def _svg(report: DriftReport) -> str:
    from edgeconv.benchmarks.report.html import page_environment
    from edgeconv.benchmarks.report.svg import standalone

    page_environment()  # tells what is not installed
    return standalone(_drawing(report))


def _drawing(report: DriftReport) -> str:
    from edgeconv.parity.drift.plot import drift_plot

    return drift_plot(report, "drift")


_WRITERS: dict[str, Callable[[DriftReport], str]] = {
    ".html": _page,
    _DRAWING: _svg,
    ".md": drift_markdown,
    ".json": to_json,
}
