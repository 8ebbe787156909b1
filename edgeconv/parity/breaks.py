"""From a verdict that fails to where each failing artefact first breaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeconv.bundles import Bundle
from edgeconv.parity.location import Location
from edgeconv.parity.verdict import Verdict
from edgeconv.records import RunRecord

__all__ = ["find_breaks", "with_layers"]

_EXPORT = "export SQNR dB"


def find_breaks(
    bundle: Bundle,
    record: RunRecord,
    verdict: Verdict,
    *,
    model: str | None = None,
    weights: Path | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> list[Location]:
    """Look on this machine for the first broken layer of each artefact that fails, of all artefacts where none does.

    The drift of the export is the same for all artefacts and is looked into once, with `model`.

    Args:
        bundle: what was run.
        record: the run.
        verdict: of the run.
        model: what the bundle was exported from, for the drift of the export.
        weights: of `model`.
        progress: called with what is looked at.
    """
    from edgeconv.parity.locate import locate_break, nowhere

    failed = [finding for finding in verdict.findings if not finding.passed]
    found: list[Location] = []
    if exported := next((finding for finding in failed if finding.bound == _EXPORT), None):
        progress("export")
        target = exported.runtime, exported.precision
        if model is None:
            found.append(
                nowhere(*target, "the export itself is off, and its modules are in the model only: use --model")
            )
        else:
            found.append(locate_break(bundle, *target, model=model, weights=weights))
    rows = [(result.runtime, result.precision) for result in record.results]
    wanted = {(finding.runtime, finding.precision) for finding in failed if finding.bound != _EXPORT}
    for runtime, precision in dict.fromkeys(rows):
        if (runtime, precision) in wanted or not failed:
            progress(f"{runtime} {precision}")
            found.append(locate_break(bundle, runtime, precision))
    return found


def with_layers(record: RunRecord, breaks: Sequence[Location]) -> RunRecord:
    """The record with the drift of every layer that was looked at, for a report."""
    layers = {(b.runtime, b.precision): b.layers for b in breaks if b.layers and b.stage != "export"}
    results = [
        dataclasses.replace(result, layers=layers.get((result.runtime, result.precision), result.layers))
        for result in record.results
    ]
    return dataclasses.replace(record, results=results)
