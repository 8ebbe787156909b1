from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.benchmark_model.parse import parse_report
from edgeconv.records import ToolSummary

SAMPLES = Path(__file__).parent / "samples"


def _text(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "summary", "init_us", "first_us"),
    [
        ("phone-2020.log", (50, 32641, 34005, 33209.4, 450), 855, 49060),
        ("phone-2022.log", (1000, 1012, 1190, 1039.66, 22), 17851, 2104),
        ("chromebook-cpu.log", (1061, 54669, 60236, 56265.8, 982), 3337, 81913),
        ("chromebook-gpu.log", (1694, 30394, 42335, 35134.9, 1733), 842225, 115098),
    ],
)
def test_the_summary_is_of_the_regular_runs(
    name: str, summary: tuple[int, int, int, float, int], init_us: int, first_us: int
) -> None:
    report = parse_report(_text(name))
    assert report is not None
    count, least, most, mean, std = summary
    expected = ToolSummary("benchmark_model", count, least * 1000, most * 1000, round(mean * 1000), std * 1000)
    assert report.summary == expected
    assert (report.init_ns, report.first_ns) == (init_us * 1000, first_us * 1000)


def test_memory_is_a_growth_in_both_wordings() -> None:
    old = parse_report(_text("phone-2020.log"))
    new = parse_report(_text("chromebook-cpu.log") + _text("desktop-memory.log"))
    assert old is not None
    assert new is not None
    assert (old.init_megabytes, old.overall_megabytes) == (0, 12.8672)
    assert (new.init_megabytes, new.overall_megabytes) == (2.43359, 8.67578)
    untold = parse_report(_text("chromebook-cpu.log"))
    assert untold is not None
    assert untold.overall_megabytes is None  # the peak that it polls for is another quantity


def test_delegates_and_how_many_nodes_they_run() -> None:
    cpu, gpu = parse_report(_text("chromebook-cpu.log")), parse_report(_text("chromebook-gpu.log"))
    assert cpu is not None
    assert gpu is not None
    assert cpu.delegates == {"TfLiteXNNPackDelegate": (58, 58)}
    assert cpu.applied is None
    assert gpu.delegates == {"TfLiteGpuDelegateV2": (58, 58)}
    assert gpu.applied == "GPU"


@pytest.mark.parametrize("text", ["", "hello", _text("phone-2019.log"), _text("chromebook-cpu.log")[:400]])
def test_what_does_not_end_with_its_timings_is_no_report(text: str) -> None:
    assert parse_report(text) is None


def test_equal_runs_are_printed_shorter() -> None:
    # As `Stat::OutputToStream` of tensorflow/core/util/stats_calculator.h writes them.
    ending = "\nInference timings in us: Init: 1, First inference: 7, Warmup (avg): 7, Inference (avg): 7\n"
    for line, count in (("count=3 curr=7 (all same)", 3), ("count=1 curr=7", 1)):
        report = parse_report(line + ending)
        assert report is not None
        assert report.summary == ToolSummary("benchmark_model", count, 7000, 7000, 7000, 0)


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_report(text)
