"""Run records as one HTML file: no script, no network, light and dark, wide and narrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.benchmarks.outputs import RunOutputs
from edgeconv.benchmarks.report.columns import COLUMNS, Cell, Column, column
from edgeconv.benchmarks.report.evidence import TrialRow, evidence_of, summary_line, trials_of
from edgeconv.benchmarks.report.figures import Plot, figures_of
from edgeconv.benchmarks.report.host import Fact, host_facts, warnings_of
from edgeconv.benchmarks.report.method import Note, method_notes
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.report.summary import Summary, fastest
from edgeconv.benchmarks.store.trend import kind_of
from edgeconv.bundles import Bundle
from edgeconv.errors import UsageError
from edgeconv.files import atomic_write_bytes
from edgeconv.records import LayerDrift, RunRecord

if TYPE_CHECKING:
    import jinja2

__all__ = ["html_report", "page_environment", "write_report"]

_WORST = 5  # layers named below their figure


@dataclasses.dataclass(frozen=True)
class _Layers:
    """The drift of one artefact, layer by layer."""

    series: Series
    svg: str
    worst: list[tuple[int, LayerDrift]]


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
    plots: list[Plot]
    layers: list[_Layers]
    tuned: list[tuple[Series, list[TrialRow]]]
    evidence: list[tuple[Series, list[Fact]]]
    not_made: list[Fact]
    notes: list[Note]

    @property
    def kind(self) -> str:
        """ "measured", or why its figures are no real device's."""
        return kind_of(self.record.host.emulated, self.record.host.clock)

    def groups(self) -> list[tuple[str, int]]:
        """The upper row of the table's head: group and how many columns it spans."""
        names = [column.group for column in self.columns]
        return [(name, names.count(name)) for name in dict.fromkeys(names)]


def write_report(
    records: Sequence[RunRecord],
    path: Path,
    bundles: Sequence[Bundle] = (),
    outputs: Mapping[str, RunOutputs] | None = None,
) -> None:
    """Write `html_report` to `path`, whole or not at all."""
    atomic_write_bytes(path, html_report(records, bundles, outputs).encode("utf-8"))


def html_report(
    records: Sequence[RunRecord], bundles: Sequence[Bundle] = (), outputs: Mapping[str, RunOutputs] | None = None
) -> str:
    """The page for `records`, in their order; the same input gives the same bytes.

    Args:
        records: the runs.
        bundles: add pictures of their golden cases where those are images, what was left in float for quality, and what
            the manifest knows.
        outputs: by run id what the runtimes returned (`read_outputs`), for those pictures.

    Raises:
        UsageError: no records, or the packages for reports are not installed.
        BundleError: golden cases that cannot be read.
    """
    if not records:
        raise UsageError("A report needs at least one run record.", "edgeconv bench writes them.")
    environment = page_environment()
    from edgeconv.benchmarks.report.mixed_plot import mixed_view
    from edgeconv.benchmarks.report.pictures import samples_of

    manifests = {bundle.manifest_sha256: bundle for bundle in bundles}
    sections = [
        _section(f"run-{number}", record, series_of(record, records), manifests.get(record.manifest_sha256))
        for number, record in enumerate(records, start=1)
    ]
    found = [(bundle, samples_of(bundle, records, outputs or {})) for bundle in _distinct(bundles)]
    mixed = [mixed_view(bundle, f"mixed-{number}") for number, bundle in enumerate(_distinct(bundles), start=1)]
    return environment.get_template("template.html.j2").render(
        sections=sections,
        mixed=[view for view in mixed if view is not None],
        models=list(dict.fromkeys(record.model for record in records)),
        across=[(kind, same, list(_across(same))) for kind, same in _by_kind(sections) if len(sections) > 1],
        samples=[(bundle, list_) for bundle, list_ in found if list_],
        summary_line=summary_line,
    )


def page_environment() -> jinja2.Environment:
    """Templates that escape everything and share one style.

    Raises:
        UsageError: the packages for reports are not installed.
    """
    try:
        import jinja2
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Reports need the package {error.name}.", "pip install 'edgeconv[report]'") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgeconv.benchmarks", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("edgeconv.benchmarks.report").joinpath("style.css").read_text(encoding="utf-8")
    environment.globals["style"] = style
    return environment


def _section(identifier: str, record: RunRecord, series: list[Series], bundle: Bundle | None) -> _Section:
    failures = [
        *record.failures,
        *(f for f in (bundle.manifest.failures if bundle else []) if f not in record.failures),
    ]
    real = kind_of(record.host.emulated, record.host.clock) == "measured"
    return _Section(
        identifier=identifier,
        record=record,
        series=series,
        columns=list(_columns(series)),
        facts=host_facts(record),
        warnings=warnings_of(record),
        summary=fastest(series) if real else None,
        plots=list(figures_of(series, identifier)) if series else [],
        layers=[_layers(s, f"{identifier}-layers-{n}") for n, s in enumerate(series, start=1) if s.result.layers],
        tuned=[(s, trials_of(s.result.tuning)) for s in series if s.result.tuning is not None],
        evidence=[(s, list(evidence_of(s.result, bundle))) for s in series],
        not_made=[Fact(f"{f.runtime} {f.precision}", f.reason) for f in failures],
        notes=method_notes(record),
    )


def _columns(series: Sequence[Series]) -> Iterator[Column]:
    """Those of a group that some artefact fills; PyTorch's task metric is one number and stands below the table."""
    for candidate in COLUMNS:
        name = f"{candidate.group} {candidate.title}"
        optional = candidate.group in ("Task metric", "Ran") or name == "Memory load"
        wanted = not optional or any(candidate.read(s.result).text for s in series)
        if wanted and name != "Task metric PyTorch":
            yield candidate


def _layers(s: Series, identifier: str) -> _Layers:
    from edgeconv.benchmarks.report.layers_plot import layers_plot, worst_layers

    layers = s.result.layers
    return _Layers(s, layers_plot(layers, s.colour, identifier), worst_layers(layers, _WORST))


def _by_kind(sections: Sequence[_Section]) -> list[tuple[str, list[_Section]]]:
    """Sections whose figures may stand side by side: the measured ones, the emulated ones."""
    kinds = sorted({section.kind for section in sections}, key=lambda kind: (kind != "measured", kind))
    return [(kind, [section for section in sections if section.kind == kind]) for kind in kinds]


def _across(sections: Sequence[_Section]) -> Iterator[tuple[str, list[tuple[Series, Cell, Cell] | None]]]:
    """For each artefact its p50 and total drift in every record that has it."""
    p50, total = column("Latency p50"), column("Drift total")
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
