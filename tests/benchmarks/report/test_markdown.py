from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeconv.benchmarks.report import markdown_report
from edgeconv.errors import UsageError
from edgeconv.records import Host, Result, RunRecord


def _rows(text: str) -> list[str]:
    """The short table."""
    return [line for line in text.split("<details>", maxsplit=1)[0].splitlines() if line.startswith("|")]


def _all_rows(text: str) -> list[str]:
    return [line for line in text.split("<details>")[1].splitlines() if line.startswith("|")]


def test_table_has_a_row_for_each_artefact_and_as_many_cells_as_its_head(two_devices: list[RunRecord]) -> None:
    text = markdown_report(two_devices)
    assert text.count("### ") == 2
    for section, artefacts in zip(text.split("### ")[1:], (6, 5), strict=True):
        for rows in (_rows(section), _all_rows(section)):
            assert len(rows) == 2 + artefacts
            assert len({row.count("|") for row in rows}) == 1
    assert "| litert int8 | yes | 16." in text


def test_verdict_comes_first(
    make_record: Callable[..., RunRecord],
    make_result: Callable[..., Result],
    make_board_record: Callable[..., RunRecord],
    make_host: Callable[..., Host],
) -> None:
    def heading(record: RunRecord) -> str:
        return markdown_report([record]).splitlines()[0]

    assert heading(make_record([make_result()])) == "### ✅ vessels on host: all 1 valid, parity holds"
    assert heading(make_record([])) == "### ❌ vessels on host: nothing was measured"
    assert heading(make_record([make_result(total_db=9.0)])).endswith("parity fails for 1")
    board = heading(make_board_record())
    assert board.startswith("### ❌ vessels on raspberry-pi-5: 1 of 5 not valid")
    assert board.endswith("1 could not be made")
    emulated = make_record([make_result()], host=make_host(emulated=True, clock="virtual"))
    assert "host (EMULATED, VIRTUAL CLOCK)" in heading(emulated)
    assert "> [!WARNING]\n> **Emulated CPU" in markdown_report([emulated])


def test_intervals_tools_without_samples_and_failures_are_told(make_board_record: Callable[..., RunRecord]) -> None:
    text = markdown_report([make_board_record()])
    assert "| 33.14 ±0.03 |" in text
    assert r"**litert fp16** benchmark\_model: mean 16.70 ms" in text
    assert "**openvino fp16** could not be made: operator &lt;Foo&gt;" in text


def test_invalid_result_has_its_times_and_memory_struck_out_and_its_reason_below(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    bad = make_result(valid=False, invalid_reasons=["latency is not steady"])
    text = markdown_report([make_record([bad])])
    cells = [cell.strip() for cell in _all_rows(text)[-1].split("|")[3:-1]]
    plain = [cell for cell in cells if not cell.startswith("~~")]
    assert plain[:2] == ["8.8", "124.8"]  # the file's size, and the drift from there on
    assert [cell.startswith("~~") for cell in cells] == [True] * 8 + [False] * 8
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
    assert "Task metric" not in _all_rows(markdown_report([make_record([make_result(metric=None)])]))[0]
    assert len(_all_rows(markdown_report([make_record([nothing_measured])]))[0].split("|")) == 5  # name, valid, size


def test_record_without_results_says_so(make_record: Callable[..., RunRecord]) -> None:
    assert "No artefact was measured." in markdown_report([make_record([])])


def test_no_records_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one run record"):
        markdown_report([])
