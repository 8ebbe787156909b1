from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.report.plots import latency_plot, memory_plot, timeline_plot
from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.report.tradeoff import pareto_front, tradeoff_plot
from edgeconv.records import Latency, Result, RunRecord

_PLOTS = [latency_plot, memory_plot, timeline_plot, tradeoff_plot]
_POINTS = st.lists(st.tuples(st.integers(1, 9).map(float), st.integers(1, 9).map(float)), max_size=12)


def _series(record: RunRecord) -> list[Series]:
    return series_of(record, [record])


@given(_POINTS)
def test_pareto_front_holds_exactly_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    front = [points[index] for index in pareto_front(points)]
    better = [p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    assert front == sorted(set(better))


def test_pareto_front_of_the_design_study_is_int8_litert_and_fp32_onnxruntime() -> None:
    assert pareto_front([(34.0, 31.0), (20.0, 31.0), (16.4, 31.4), (52.0, 125.0), (63.0, 128.0)]) == [2, 3, 4]


@pytest.mark.parametrize("plot", _PLOTS)
def test_plot_is_wellformed_and_names_each_artefact(
    plot: Callable[[list[Series], str], str], make_record: Callable[..., RunRecord]
) -> None:
    text = plot(_series(make_record()), "one")
    root = ElementTree.fromstring(text)
    shown = " ".join(root.itertext())
    for series in _series(make_record()):
        assert series.label in shown
    assert "invalid" in shown


@pytest.mark.parametrize("plot", _PLOTS)
def test_plot_shows_odd_names_literally(
    plot: Callable[[list[Series], str], str], make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    name = '<a id="b"> $x$ 推論 #fe0100'
    text = plot(_series(make_record([make_result(name, "fp32")])), "one")
    assert f"{name} fp32" in " ".join(ElementTree.fromstring(text).itertext())


@pytest.mark.parametrize("plot", _PLOTS)
def test_plot_survives_a_result_without_numbers(
    plot: Callable[[list[Series], str], str],
    make_record: Callable[..., RunRecord],
    make_result: Callable[..., Result],
    nothing_measured: Result,
) -> None:
    zero = make_result("openvino", latency_ns=Latency([0, 0], 0, None, None, []))
    for results in ([nothing_measured], [make_result(), nothing_measured], [zero]):
        text = plot(_series(make_record(results)), "one")
        assert "nan" not in text.lower()


def test_tradeoff_plot_leaves_invalid_artefacts_off_the_front(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    valid, invalid = make_result(median_ms=20.0), make_result("openvino", "int8", 5.0, total_db=90.0, valid=False)
    alone = tradeoff_plot(_series(make_record([valid])), "one")
    both = tradeoff_plot(_series(make_record([valid, invalid])), "one")
    rings = re.compile(r"<use [^>]*stroke: var\(--ink\)")
    assert len(rings.findall(alone)) == len(rings.findall(both)) == 1


def test_tradeoff_plot_of_artefacts_without_drift_is_none(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    assert tradeoff_plot(_series(make_record([make_result(drift=None)])), "one") == ""


def test_timeline_keeps_the_one_spike_among_many_samples(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    samples = [1_000_000] * 5000
    samples[3210] = 9_000_000
    spiky = make_result(latency_ns=Latency(samples, 1_000_000, None, None, []))
    calm = make_result(latency_ns=Latency([1_000_000] * 5000, 1_000_000, None, None, []))
    warn = "stroke: var(--warn)"
    assert warn in timeline_plot(_series(make_record([spiky])), "one")
    assert warn not in timeline_plot(_series(make_record([calm])), "one")


def test_threads_are_named_only_where_they_differ(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    same = _series(make_record([make_result(), make_result("openvino")]))
    mixed = _series(make_record([make_result(), make_result(threads=4)]))
    assert [s.label for s in same] == ["litert int8", "openvino int8"]
    assert [s.label for s in mixed] == ["litert int8 ×1", "litert int8 ×4"]
