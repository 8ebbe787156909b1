"""Run records as one HTML file: no script, no network, light and dark, wide and narrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from edgeconv.benchmarks.report.columns import COLUMNS, Cell, Column, columns_of
from edgeconv.benchmarks.report.host import Fact, host_facts, warnings_of
from edgeconv.benchmarks.report.method import Note, method_notes
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.report.summary import Summary, fastest
from edgeconv.bundles import Bundle
from edgeconv.errors import UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.records import Result, RunRecord

__all__ = ["html_report", "write_report"]


@dataclasses.dataclass(frozen=True)
class _Plot:
    title: str
    caption: str
    svg: str


@dataclasses.dataclass(frozen=True)
class _Section:
    """What the template shows of one record."""

    identifier: str
    record: RunRecord
    series: list[Series]
    columns: list[Column]
    facts: list[Fact]
    warnings: list[str]
    summary: Summary | None
    plots: list[_Plot]
    evidence: list[tuple[Series, list[Fact]]]
    not_made: list[Fact]
    notes: list[Note]

    def groups(self) -> list[tuple[str, int]]:
        """The upper row of the table's head: group and how many columns it spans."""
        names = [column.group for column in self.columns]
        return [(name, names.count(name)) for name in dict.fromkeys(names)]


def write_report(records: Sequence[RunRecord], path: Path, bundles: Sequence[Bundle] = ()) -> None:
    """Write `html_report` to `path`, whole or not at all."""
    atomic_write_bytes(path, html_report(records, bundles).encode("utf-8"))


def html_report(records: Sequence[RunRecord], bundles: Sequence[Bundle] = ()) -> str:
    """The page for `records`, in their order; the same input gives the same bytes.

    A bundle adds what only it knows: artefacts that could not be made, and pictures of its golden cases where they are
    images.

    Raises:
        UsageError: no records, or the packages for reports are not installed.
        BundleError: golden cases that cannot be read.
    """
    if not records:
        raise UsageError("A report needs at least one run record.", "edgeconv bench writes them.")
    try:
        import jinja2
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Reports need the package {error.name}.", "pip install 'edgeconv[report]'") from error
    from edgeconv.benchmarks.report.pictures import samples_of

    runtimes = sorted({result.runtime for record in records for result in record.results})
    manifests = {bundle.manifest_sha256: bundle for bundle in bundles}
    sections = [
        _section(f"run-{number}", record, series_of(record, runtimes), manifests.get(record.manifest_sha256))
        for number, record in enumerate(records, start=1)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgeconv.benchmarks", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("edgeconv.benchmarks.report").joinpath("style.css").read_text(encoding="utf-8")
    return environment.get_template("template.html.j2").render(
        style=style,
        sections=sections,
        models=list(dict.fromkeys(record.model for record in records)),
        across=list(_across(sections)) if len(sections) > 1 else [],
        samples=[(bundle, samples_of(bundle)) for bundle in _distinct(bundles)],
    )


def _section(identifier: str, record: RunRecord, series: list[Series], bundle: Bundle | None) -> _Section:
    failures = bundle.manifest.failures if bundle else []
    return _Section(
        identifier=identifier,
        record=record,
        series=series,
        columns=[c for c in COLUMNS if c.group != "Task metric" or any(s.result.task for s in series)],
        facts=host_facts(record),
        warnings=warnings_of(record),
        summary=fastest(series) if record.host.clock == "wall" and not record.host.emulated else None,
        plots=list(_plots(series, identifier)) if series else [],
        evidence=[(s, list(_evidence(s.result, bundle))) for s in series],
        not_made=[Fact(f"{f.runtime} {f.precision}", f.reason) for f in failures],
        notes=method_notes(record),
    )


def _plots(series: list[Series], identifier: str) -> Iterator[_Plot]:
    from edgeconv.benchmarks.report.plots import MAX_POINTS, latency_plot, memory_plot, timeline_plot
    from edgeconv.benchmarks.report.tradeoff import tradeoff_plot

    hollow = " Grey: not valid." if any(not s.result.valid for s in series) else ""
    yield _Plot(
        "Latency, every sample",
        f"A dot is one inference (at most {MAX_POINTS} evenly spaced ranks of a sample), the long bar p50, the short "
        f"one p90.{hollow}",
        latency_plot(series, f"{identifier}-latency"),
    )
    if svg := tradeoff_plot(series, f"{identifier}-tradeoff"):
        hollow = " Hollow: not valid." if hollow else ""
        yield _Plot(
            "Latency and drift",
            f"Up is closer to PyTorch, left is faster. The line joins what no other artefact beats in both.{hollow}",
            svg,
        )
    yield _Plot(
        "Memory",
        f"Grey: the process with the runtime imported. Coloured: what the model adds up to the peak.{hollow}",
        memory_plot(series, f"{identifier}-memory"),
    )
    yield _Plot(
        "Latency over the run",
        "Relative to the median of the row, which is its middle line; up is slower. A row spans half to twice the "
        "median; what is slower than that is a dot at the top.",
        timeline_plot(series, f"{identifier}-timeline"),
    )


def _evidence(result: Result, bundle: Bundle | None) -> Iterator[Fact]:
    yield Fact("provider", result.provider or "unknown")
    yield Fact("threads", str(result.threads))
    yield Fact("samples", f"{len(result.latency_ns.samples)} after {len(result.latency_ns.warmup)} of warm-up")
    if result.import_ns is not None:
        yield Fact("import", f"{result.import_ns / 1e6:.0f} ms")
    peak, baseline = result.memory.peak_rss_bytes, result.memory.baseline_rss_bytes
    if peak is not None and baseline is not None:
        yield Fact("memory", f"{baseline / 1e6:.1f} MB before, {peak / 1e6:.1f} MB at its peak")
    if result.drift is not None:
        total, reference = result.drift.total, result.drift.reference
        yield Fact("total drift", f"max {total.max_abs:.3g}, mean {total.mean_abs:.3g}, cosine {total.cosine:.6f}")
        if reference.sqnr_db is not None:
            yield Fact("Q/DQ reference", f"{reference.sqnr_db:.1f} dB against PyTorch")
    yield Fact("file", f"sha256 {result.artifact_sha256[:12]}", result.artifact_sha256)
    for artifact in bundle.manifest.artifacts if bundle else []:
        if artifact.sha256 == result.artifact_sha256:
            yield from (Fact(term, text) for term, text in artifact.facts.items())
    yield from (Fact(term, text) for term, text in result.evidence.items())


def _across(sections: Sequence[_Section]) -> Iterator[tuple[str, list[tuple[Series, Cell, Cell] | None]]]:
    """For each artefact its p50 and total drift in every record that has it."""
    p50, total = columns_of("Latency")[0], columns_of("Drift")[-1]
    for label in dict.fromkeys(s.label for section in sections for s in section.series):
        row: list[tuple[Series, Cell, Cell] | None] = []
        for section in sections:
            s = next((s for s in section.series if s.label == label), None)
            row.append((s, p50.read(s.result), total.read(s.result)) if s else None)
        yield label, row


def _distinct(bundles: Sequence[Bundle]) -> list[Bundle]:
    """One bundle for each set of golden cases: those for other devices have the same pictures."""
    found = {
        next((e.sha256 for e in bundle.manifest.files if bundle.directory / e.path == bundle.golden), ""): bundle
        for bundle in reversed(bundles)
    }
    return list(reversed(found.values()))
