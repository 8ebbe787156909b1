from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.benchmarks.report import html_report
from edgeconv.benchmarks.report.mixed_plot import mixed_plot, mixed_view
from edgeconv.bundles import Bundle, load_bundle
from edgeconv.errors import BundleError
from edgeconv.export.bundle import write_bundle
from edgeconv.export.mixed.report import MIXED_PATH, MixedReport, Price, Quality, Rescue, SchemeQuality, read_mixed
from edgeconv.records import RunRecord


def _price(runtime: str, latency_ms: float | None, sqnr_db: float, size: int = 1_500_000) -> Price:
    ratio = Ratio(1.1, 1.0, 1.2)
    if latency_ms is None:
        return Price(runtime, None, None, 0, None, "it does not load")
    return Price(runtime, latency_ms, ratio, size, Quality(sqnr_db, sqnr_db - 1, 0.8))


REPORT = MixedReport(
    schema_version=1,
    target="no golden case below 40 dB",
    metric="dice",
    torch_metric=0.81,
    cases=8,
    candidates=30,
    machine="a CPU, 1 thread",
    int8=Quality(36.0, 35.0, 0.79),
    int8_prices=(_price("litert", 5.0, 36.0), _price("openvino", 6.0, 35.9)),
    rescues=(
        Rescue("stem <Conv>", "operator", ("stem/Conv",), Quality(39.0, 38.0, 0.8), (
            _price("litert", 5.5, 39.0), _price("openvino", 6.1, 38.8, 1_600_000))),
        Rescue("head of y", "head", ("last/Mul", "head/Conv"), Quality(41.5, 40.5, 0.81), (
            _price("litert", 7.25, 41.4), _price("openvino", None, 0.0))),
    ),
    dropped=("mid/Conv",),
    not_priced=("tensorrt: it runs on the device only",),
)  # fmt: skip


def _with_mixed(directory: Path, path: Path, report: MixedReport) -> Bundle:
    bundle = load_bundle(directory)
    with np.load(bundle.golden) as archive:
        golden = dict(archive)
    artifacts = bundle.manifest.artifacts
    paths = [path for artifact in artifacts for path in artifact.paths]
    write_bundle(path, bundle.manifest, {p: bundle.directory / p for p in paths}, golden, mixed=report)
    return load_bundle(path)


def test_the_report_is_a_hashed_file_of_the_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = _with_mixed(tiny_bundle, tmp_path / "b", REPORT)
    assert MIXED_PATH in [entry.path for entry in bundle.manifest.files]
    assert read_mixed(bundle.directory) == REPORT
    assert read_mixed(tiny_bundle) is None
    (bundle.directory / MIXED_PATH).write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match="changed since the export"):
        load_bundle(bundle.directory)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{}", "damaged or foreign"), ("[", "damaged or foreign"), ('{"schema_version": 99}', "reads up to 1")],
)
def test_a_damaged_report_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / MIXED_PATH).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=words):
        read_mixed(tmp_path)


def test_a_curve_has_a_point_for_each_graph_that_was_priced() -> None:
    assert REPORT.curve("litert") == [(5.0, 36.0, 0), (5.5, 39.0, 1), (7.25, 41.4, 2)]
    assert REPORT.curve("openvino") == [(6.0, 35.9, 0), (6.1, 38.8, 1)]
    svg = mixed_plot(REPORT, "m")
    ElementTree.fromstring(svg)
    shorter = dataclasses.replace(REPORT, rescues=REPORT.rescues[:1])
    assert mixed_plot(shorter, "m").count("<use") == svg.count("<use") - 1  # openvino's last graph could not be timed
    assert "var(--series-1)" in svg and "var(--series-2)" in svg  # noqa: PT018
    assert mixed_plot(REPORT, "m") == svg


def test_without_prices_there_is_a_table_and_no_figure(tiny_bundle: Path, tmp_path: Path) -> None:
    bare = dataclasses.replace(
        REPORT, int8_prices=(), rescues=tuple(dataclasses.replace(r, prices=()) for r in REPORT.rescues)
    )
    view = mixed_view(_with_mixed(tiny_bundle, tmp_path / "b", bare), "m")
    assert view is not None
    assert view.svg == ""
    assert [row.name for row in view.rows] == ["int8", "stem <Conv>", "head of y"]


def test_the_page_tells_what_was_rescued_gained_and_paid(
    tiny_bundle: Path, tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    bundle = _with_mixed(tiny_bundle, tmp_path / "b", REPORT)
    page = html_report([make_record()], [bundle])
    section = page[page.index("Mixed precision") :]
    for text in ("no golden case below 40 dB", "stem &lt;Conv&gt;", "last/Mul, head/Conv", "40.5", "7.25", "a CPU"):
        assert text in section
    assert "Mixed precision" not in html_report([make_record()], [load_bundle(tiny_bundle)])


def test_a_target_that_int8_met_is_told(
    tiny_bundle: Path, tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    met = dataclasses.replace(REPORT, rescues=(), int8_prices=())
    page = html_report([make_record()], [_with_mixed(tiny_bundle, tmp_path / "b", met)])
    assert "nothing was left in float" in page


def test_a_runtime_that_does_not_meet_the_target_is_named(
    tiny_bundle: Path, tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    other = SchemeQuality("symmetric-outputs", ("openvino",), Quality(25.0, 24.3, 0.87), met=False)
    report = dataclasses.replace(REPORT, others=(other, dataclasses.replace(other, runtimes=("tensorrt",), met=True)))
    bundle = _with_mixed(tiny_bundle, tmp_path / "b", report)
    assert read_mixed(bundle.directory) == report
    page = html_report([make_record()], [bundle])
    assert "openvino does not meet it" in page
    assert "24.3 dB in the worst case" in page
    assert "tensorrt does not" not in page
