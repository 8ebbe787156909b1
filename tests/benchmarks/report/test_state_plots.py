from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.report.series import Series, series_of
from edgeconv.benchmarks.report.state_plots import QUANTITIES, Quantity, state_plot, throttled_spans
from edgeconv.records import DeviceState, Result, RunRecord, StateSample

_WARN = "var(--warn)"


def _series(record: RunRecord) -> list[Series]:
    return series_of(record, [record])


def _state(throttled: list[bool | None]) -> DeviceState:
    words = {True: ["hot"], False: [], None: None}
    samples = [StateSample(float(at), throttled=words[flag]) for at, flag in enumerate(throttled)]
    return DeviceState({}, None, [], samples, None, None, "clean", [])


@given(st.lists(st.sampled_from([True, False, None]), max_size=12))
def test_throttled_spans_cover_exactly_the_samples_that_say_so(flags: list[bool | None]) -> None:
    spans = throttled_spans(_state(flags))
    assert all(begin <= end for begin, end in spans)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
    last = len(flags) - 1  # of the last sample nobody knows how long it held
    covered = {at for at in range(last) if any(begin <= at < end for begin, end in spans)}
    assert covered == {at for at in range(last) if flags[at]}
    assert (spans[-1][1] == last if spans else False) or not (flags and flags[-1])


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.title)
def test_plot_names_each_artefact_with_its_range_and_marks_the_throttled_span(
    quantity: Quantity, make_board_record: Callable[..., RunRecord]
) -> None:
    series = _series(make_board_record())
    shown = " ".join(ElementTree.fromstring(state_plot(series, quantity, "one")).itertext())
    for s in series[:4]:
        assert s.label in shown
    assert series[4].label not in shown  # its state was not recorded
    assert "throttled 13 s" in shown
    assert shown.count("throttled") == 1


def test_plot_of_a_cool_board_has_no_span(make_board_record: Callable[..., RunRecord]) -> None:
    record = make_board_record()
    cool = dataclasses.replace(record, results=record.results[:1])
    assert _WARN not in state_plot(_series(cool), QUANTITIES[0], "one")
    assert _WARN in state_plot(_series(record), QUANTITIES[0], "one")


def test_quantity_that_nobody_told_gives_no_plot(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    silent = make_result(state=_state([False, None, True]))
    for record in (make_record([silent]), make_record([make_result()]), make_record([])):
        assert [state_plot(_series(record), quantity, "one") for quantity in QUANTITIES] == ["", "", ""]


def test_single_sample_and_constant_values_are_drawn(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    one = StateSample(0.0, temperatures_celsius={"cpu": 50.0}, throttled=["hot"])
    state = dataclasses.replace(_state([]), samples=[one])
    text = state_plot(_series(make_record([make_result(state=state)])), QUANTITIES[0], "one")
    assert "nan" not in text.lower()
    assert "50 °C, throttled 0 s" in " ".join(ElementTree.fromstring(text).itertext())
