from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from edgeconv.benchmarks.store import query, save_runs
from edgeconv.benchmarks.store.tables import runs_table, sparkline, trends_table
from edgeconv.benchmarks.store.trend import FIGURES, Trend, changes_of, trends_of
from edgeconv.errors import RecordError
from edgeconv.records import Drift, DriftPart, Host, Result, RunRecord

_Records = Callable[..., RunRecord]
_Results = Callable[..., Result]


def _host(**changes: object) -> Host:
    base = {"machine": "aarch64", "system": "Linux", "cpu_model": "Cortex-A76", "cpu_flags": [], "cpus": 4}
    rest = {"governor": None, "memory_bytes": None, "python": "3.11", "emulated": False, "clock": "wall"}
    return Host(**{**base, **rest, **changes})


def _trends(records: list[RunRecord], store: Path, figure: str = "p50") -> list[Trend]:
    save_runs(records, store)
    return trends_of(query(path=store), FIGURES[figure])


def test_points_are_in_the_order_of_time_with_value_interval_and_validity(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    late, early = make_result(p50_ms=12.0, valid=False), make_result(p50_ms=10.0)
    (trend,) = _trends([make_record("b", 2, [late]), make_record("a", 1, [early])], store)
    assert (trend.device, trend.machine, trend.kind, trend.label) == ("host", "Xeon", "measured", "litert int8")
    assert [(p.run_id, p.value, p.valid) for p in trend.points] == [("a", 10.0, True), ("b", 12.0, False)]
    assert trend.points[0].interval == pytest.approx((9.999991, 10.000009))
    assert [point.run_id for point in trend.valid] == ["a"]


def test_emulated_virtual_and_real_runs_machines_and_settings_never_share_a_trend(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    many = [make_result(), make_result(threads=4), make_result(mode="sustained"), make_result(precision="fp32")]
    many.append(make_result(options={"xnnpack": "off"}))
    hosts = [_host(), _host(emulated=True), _host(emulated=True, clock="virtual"), _host(board="Raspberry Pi 5")]
    records = [make_record(f"h{n}", n + 1, host=host) for n, host in enumerate(hosts)]
    trends = _trends([*records, make_record("m", 9, many), make_record("d", 9, device="pi")], store)
    assert all(len(trend.points) == 1 for trend in trends)
    assert [trend.kind for trend in trends][-2:] == ["emulated", "emulated, virtual clock"]
    labels = [trend.label for trend in trends if trend.machine == "Xeon" and trend.device == "host"]
    assert labels == [
        "litert int8",
        "litert int8 ×4",
        "litert int8, sustained",
        "litert fp32",
        "litert int8, xnnpack=off",
    ]


def test_trend_of_different_models_is_refused(make_record: _Records, store: Path) -> None:
    with pytest.raises(RecordError, match=r"different models: deblur, vessels\. A trend is of one"):
        _trends([make_record("a"), make_record("b", 2, model="deblur")], store)


def test_figure_that_was_not_measured_gives_no_point(make_record: _Records, make_result: _Results, store: Path) -> None:
    exact = DriftPart(0.0, 0.0, None, 1.0)
    results = [make_result(drift=Drift(*[exact] * 5)), make_result(precision="fp32", drift=None)]
    assert _trends([make_record(results=results)], store, "drift") == []
    assert [t.points[0].value for t in trends_of(query(path=store), FIGURES["memory"])] == [90.0, 90.0]


def test_changes_name_weights_files_and_versions(make_record: _Records, make_result: _Results, store: Path) -> None:
    def both(file: str, version: str) -> list[Result]:
        changed = make_result(artifact_sha256=file * 32, evidence={"version": version})
        return [changed, make_result("openvino")]

    records = [
        make_record("a", 1, both("aa", "2.1")),
        make_record("b", 2, both("ab", "2.1")),
        make_record("c", 3, both("ac", "2.2"), model_sha256="beef" * 16),
        make_record("d", 4, both("ac", "2.2"), model_sha256="beef" * 16, edgeconv_version="0.2.0"),
    ]
    assert changes_of(_trends(records, store)) == [
        "2026-11-02: other file (litert int8)",
        "2026-11-03: litert 2.1 → 2.2 (litert int8)",
        "2026-11-03: other weights",
        "2026-11-04: edgeconv 0.1.0 → 0.2.0",
    ]


def test_sparkline_spans_lowest_to_highest_and_crosses_what_is_invalid(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    values = [(10.0, True), (20.0, True), (90.0, False), (15.0, True)]
    records = [make_record(f"r{n}", n + 1, [make_result(p50_ms=ms, valid=ok)]) for n, (ms, ok) in enumerate(values)]
    (trend,) = _trends(records, store)
    assert sparkline(trend.points) == "▁█✗▅"
    assert sparkline(trend.points[:1]) == "▁"
    assert sparkline(trend.points[2:3]) == "✗"
    assert sparkline([]) == ""
    assert len(sparkline(trend.points * 100)) == 40


def test_noise_does_not_fill_the_sparkline(make_record: _Records, make_result: _Results, store: Path) -> None:
    records = [make_record(f"r{n}", n + 1, [make_result(p50_ms=10 + 0.02 * (n % 2))]) for n in range(6)]
    (trend,) = _trends(records, store)
    assert set(sparkline(trend.points)) == {"▁"}


def test_tables_print_names_literally_and_label_emulated_runs(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    records = [make_record("[red]a", 1, host=_host(emulated=True)), make_record("b", 2, [make_result(valid=False)])]
    trends = _trends(records, store)
    stream = io.StringIO()
    console = Console(file=stream, width=100, color_system=None)
    console.print(runs_table(query(path=store)))
    console.print(trends_table(trends, FIGURES["p50"]))
    text = stream.getvalue()
    assert "[red]a" in text
    assert "Cortex-A76 (emulated)" in text
    assert "1, 1 ✗" in text
    assert "EMULATED" in text
    assert "no valid run" in text
