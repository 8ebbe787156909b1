from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeconv.benchmarks.report import markdown_report
from edgeconv.errors import UsageError
from edgeconv.records import Result, RunRecord


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_table_has_a_row_for_each_artefact_and_as_many_cells_as_its_head(two_devices: list[RunRecord]) -> None:
    text = markdown_report(two_devices)
    assert text.count("### ") == 2
    rows = _rows(text)
    assert len(rows) == (2 + 6) + (2 + 5)
    assert len({row.count("|") for row in rows}) == 1
    assert "| litert int8 | yes | 16." in text


def test_invalid_result_has_every_measured_number_struck_out_and_its_reason_below(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    bad = make_result(valid=False, invalid_reasons=["latency is not steady"])
    text = markdown_report([make_record([bad])])
    cells = [cell.strip() for cell in _rows(text)[-1].split("|")[3:-1]]
    plain = [cell for cell in cells if not cell.startswith("~~")]
    assert plain == ["8.8"]  # the file's size, which was not measured by the run
    assert "- ✕ **litert int8** is not valid: latency is not steady" in text


def test_names_cannot_break_the_table_or_smuggle_in_markup(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    record = make_record([make_result("a|b\n<b>", "*int8* [x](http://y) @team")], model="<script>`x`")
    text = markdown_report([record])
    assert len(_rows(text)) == 3
    assert r"a\|b &lt;b&gt; \*int8\* \[x\](http://y)" in text
    assert "<script>" not in text
    assert "@team" not in text


def test_columns_that_no_artefact_fills_are_left_out(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result], nothing_measured: Result
) -> None:
    assert "Task metric" not in _rows(markdown_report([make_record([make_result(metric=None)])]))[0]
    assert len(_rows(markdown_report([make_record([nothing_measured])]))[0].split("|")) == 5  # name, valid, size


def test_record_without_results_says_so(make_record: Callable[..., RunRecord]) -> None:
    assert "No artefact was measured." in markdown_report([make_record([])])


def test_no_records_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one run record"):
        markdown_report([])
