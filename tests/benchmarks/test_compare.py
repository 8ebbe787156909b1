from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest

from edgeconv.benchmarks.compare import Comparison, ComparisonRow, compare_runs
from edgeconv.benchmarks.comparison_views import comparison_markdown, comparison_table
from edgeconv.cli import run
from edgeconv.errors import RecordError, UsageError
from edgeconv.manifest import Failure
from edgeconv.records import (
    Drift,
    DriftPart,
    Host,
    Latency,
    Memory,
    Result,
    RunRecord,
    TaskMetric,
    ToolSummary,
)
from edgeconv.schema import to_json

PART = DriftPart(0.1, 0.01, 31.0, 0.999)
FINE = DriftPart(0.1, 0.01, 120.0, 0.999)


def samples(median_ns: float, seed: int, count: int = 150) -> list[int]:
    """Latencies as machines give them: a floor, a skewed tail and rare stalls."""
    rng = np.random.default_rng(seed)
    values = median_ns * (1 + 0.02 * rng.gamma(2.0, 1.0, count))
    values[rng.random(count) < 0.02] *= 1.5
    return [int(v) for v in values]


def result(values: list[int], *, runtime: str = "litert", total: float | None = 31.0, **changes: object) -> Result:
    made = Result(
        runtime=runtime,
        precision="int8",
        valid=True,
        invalid_reasons=[],
        artifact_sha256="0" * 64,
        artifact_bytes=1,
        latency_ns=Latency(values, None, None, None, [], rounds=[50] * (len(values) // 50)),
        import_ns=None,
        load_ns=None,
        first_inference_ns=None,
        memory=Memory(30_000_000, 10_000_000, "VmHWM"),
        drift=Drift(FINE, PART, FINE, dataclasses.replace(PART, sqnr_db=total), PART),
        task=None,
        provider=None,
        threads=1,
        evidence={},
    )
    return dataclasses.replace(made, **changes)


def record(*results: Result, name: str = "base", host: dict[str, object] | None = None, **changes: object) -> RunRecord:
    machine = Host("x86_64", "Linux", "A CPU", [], 2, None, None, "3.11", False, "wall")
    made = RunRecord(
        2,
        name,
        "now",
        "0",
        "local:",
        "b",
        "0" * 64,
        "m",
        "host",
        dataclasses.replace(machine, **(host or {})),
        list(results),
    )
    return dataclasses.replace(made, **changes)


def one_row(before: Result, after: Result, **options: object) -> ComparisonRow:
    (row,) = compare_runs(record(before), record(after), **options).rows
    return row


GOOD = samples(1e7, 1)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "slower"), (0.8, "faster"), (1.0, "same")])
def test_the_verdict_follows_the_interval(factor: float, verdict: str) -> None:
    row = one_row(result(GOOD), result(samples(factor * 1e7, 2)))
    assert row.verdict == verdict
    assert row.median is not None
    assert row.median.value == pytest.approx(factor, rel=0.02)
    assert row.median.low < row.median.value < row.median.high
    assert row.p90 is not None
    assert row.events == (["slower"] if verdict == "slower" else [])


def test_few_scattered_samples_cannot_tell() -> None:
    rng = np.random.default_rng(0)
    wild = [[int(v) for v in rng.uniform(5e6, 2e7, 8)] for _ in range(2)]
    row = one_row(result(wild[0]), result(wild[1]))
    assert row.verdict == "can't tell"
    assert row.p90 is None


def test_a_longer_tail_is_slower_even_where_the_median_is_the_same() -> None:
    rng = np.random.default_rng(5)
    base = 1e7 * (1 + 0.01 * rng.standard_normal(300))
    tail = base.copy()
    tail[rng.permutation(300)[:60]] *= 1.5
    row = one_row(result([int(v) for v in base]), result([int(v) for v in tail]))
    assert row.median is not None
    assert abs(row.median.value - 1) < 0.02
    assert row.verdict == "slower"


def test_a_round_that_ran_badly_makes_one_unable_to_tell() -> None:
    disturbed = [int(v * 1.4) for v in GOOD[:50]] + GOOD[50:]
    assert one_row(result(GOOD), result(disturbed)).verdict == "can't tell"


def test_missing_new_and_invalid_rows_are_events() -> None:
    base = record(result(GOOD), result(GOOD, runtime="openvino"), result(GOOD, runtime="onnxruntime"))
    invalid = result(GOOD, valid=False, invalid_reasons=["busy"])
    after = record(
        invalid,
        result(GOOD, runtime="openvino"),
        result(GOOD, runtime="tflite_runtime"),
        failures=[Failure("onnxruntime", "int8", "an operator is not known")],
    )
    comparison = compare_runs(base, after)
    verdicts = {row.runtime: row.verdict for row in comparison.rows}
    assert verdicts == {"litert": "invalid", "openvino": "same", "onnxruntime": "missing", "tflite_runtime": "new"}
    assert comparison.worse
    assert comparison.events() == ["litert int8: invalid", "onnxruntime int8: missing"]
    assert comparison.events(["slower"]) == []
    notes = {row.runtime: row.notes for row in comparison.rows}
    assert notes["litert"] == ["busy"]
    assert notes["onnxruntime"] == ["could not be made: an operator is not known"]
    was_invalid = compare_runs(record(invalid), record(result(GOOD)))
    assert [row.verdict for row in was_invalid.rows] == ["no baseline"]
    assert not was_invalid.worse


def test_an_artefact_without_outputs_is_newly_failing() -> None:
    broken = result([], drift=None, valid=False, invalid_reasons=["killed by signal 11"])
    assert one_row(result(GOOD), broken).events == ["failing", "invalid"]
    assert one_row(broken, broken).events == []


def test_drift_and_metric_stand_beside_the_latency() -> None:
    assert one_row(result(GOOD), result(GOOD, total=30.75)).events == []
    worse = one_row(result(GOOD), result(GOOD, total=29.0))
    assert (worse.drift_db, worse.events) == (2.0, ["failing", "drift"])
    identical = one_row(result(GOOD, total=None), result(GOOD, total=31.0))
    assert identical.events == ["drift"]
    json.loads(to_json(identical))
    dropped = one_row(
        result(GOOD, task=TaskMetric("dice", 0.8, 0.80)), result(GOOD, task=TaskMetric("dice", 0.8, 0.795))
    )
    assert dropped.metric_drop == pytest.approx(0.00625)
    assert dropped.events == ["drift"]


def test_memory_counts_above_the_baseline_and_beyond_noise() -> None:
    grown = one_row(result(GOOD), result(GOOD, memory=Memory(33_000_000, 10_000_000, "VmHWM")))
    assert grown.memory_ratio == pytest.approx(1.15)
    assert grown.events == ["memory"]
    tiny = [result(GOOD, memory=Memory(10_000_000 + n, 10_000_000, "VmHWM")) for n in (1_000_000, 2_000_000)]
    assert one_row(*tiny).events == []
    assert one_row(result(GOOD), result(GOOD, memory=Memory(None, None, ""))).memory_ratio is None


def test_a_virtual_clock_is_compared_exactly() -> None:
    host = {"emulated": True, "clock": "virtual"}
    base = record(result([10_000_000] * 9), host=host)
    (row,) = compare_runs(base, record(result([10_500_000] * 9), host=host)).rows
    assert row.verdict == "slower"
    assert (row.median.value, row.median.low, row.median.high) == (1.05, 1.05, 1.05)
    (row,) = compare_runs(base, record(result([10_050_000] * 9), host=host)).rows
    assert row.verdict == "same"
    (row,) = compare_runs(base, record(result([9_500_000] * 9), host=host)).rows
    assert row.verdict == "faster"


def test_tools_without_samples_are_compared_by_their_means() -> None:
    def summary(mean: int) -> Result:
        tool = ToolSummary("benchmark_model", 500, mean - 100, mean + 100_000, mean, 50_000)
        return result([], latency_ns=Latency([], None, None, None, [], summary=tool))

    assert one_row(summary(5_000_000), summary(6_000_000)).verdict == "slower"
    assert one_row(summary(5_000_000), summary(5_010_000)).verdict != "slower"


def test_other_threads_versions_and_weights_are_noted() -> None:
    before = result(GOOD, evidence={"version": "2.3.0"})
    after = result(GOOD, threads=4, evidence={"version": "2.4.0"}, options={"a": "b"})
    comparison = compare_runs(
        record(before, model_sha256="a" * 64, tools={"onnx": "1"}),
        record(after, model_sha256="b" * 64, tools={"onnx": "2"}),
    )
    (row,) = comparison.rows
    assert row.notes == ["threads: 1, now 4", "options: none, now {'a': 'b'}", "version: 2.3.0, now 2.4.0"]
    assert comparison.notes == [f"weights: {'a' * 12}, now {'b' * 12}", "onnx: 1, now 2"]


def test_results_of_one_artefact_measured_twice_are_paired_in_order() -> None:
    twice = record(result(GOOD), result(samples(2e7, 3)))
    comparison = compare_runs(twice, twice)
    assert [row.verdict for row in comparison.rows] == ["same", "same"]


def test_runs_that_do_not_belong_together_are_refused() -> None:
    base = record(result(GOOD))
    with pytest.raises(RecordError, match="different models: m and other"):
        compare_runs(base, record(result(GOOD), model="other"))
    with pytest.raises(RecordError, match="Run b is emulated and run base is not"):
        compare_runs(base, record(result(GOOD), name="b", host={"emulated": True}))
    with pytest.raises(RecordError, match="a wall clock, run b a virtual one"):
        compare_runs(base, record(result(GOOD), name="b", host={"clock": "virtual"}))


@pytest.mark.parametrize(
    "change", [{"device": "raspberry-pi-5"}, {"host": {"cpu_model": "B"}}, {"host": {"board": "Pi"}}]
)
def test_runs_of_different_devices_are_compared_only_when_asked(change: dict[str, object]) -> None:
    other = record(result(GOOD), **change)
    with pytest.raises(RecordError, match=r"different devices.*--across-devices"):
        compare_runs(record(result(GOOD)), other)
    assert compare_runs(record(result(GOOD)), other, across_devices=True).rows[0].verdict == "same"


@pytest.mark.parametrize("effect", [0.0, -0.1, 1.0, float("nan")])
def test_a_minimum_effect_that_means_nothing_is_refused(effect: float) -> None:
    with pytest.raises(UsageError, match="minimum effect"):
        compare_runs(record(result(GOOD)), record(result(GOOD)), min_effect=effect)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slow = record(result(samples(1.2e7, 2), total=29.9), name="slow", started_at="later")
    for made in (record(result(GOOD)), slow):
        (tmp_path / f"{made.run_id}.json").write_text(to_json(made))
    return tmp_path


def test_the_exit_code_is_for_ci(files, capsys) -> None:
    assert run(["compare", "base.json", "base.json"]) == 0
    assert run(["compare", "base.json", "slow.json"]) == 1
    assert run(["compare", "slow.json", "base.json"]) == 0
    assert run(["compare", "base.json", "slow.json", "--fail-on", "missing,memory"]) == 0
    assert run(["compare", "base.json", "slow.json", "--fail-on", "drift"]) == 1
    assert run(["compare", "base.json", "slow.json", "--fail-on", "none"]) == 0
    assert run(["compare", "base.json", "slow.json", "--fail-on", "slwer"]) == 2
    assert "knows no event 'slwer'" in capsys.readouterr().err


def test_json_and_markdown_are_all_that_is_on_standard_output(files, capsys) -> None:
    run(["compare", "base.json", "slow.json", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["rows"][0]["verdict"] == "slower"
    assert set(document["rows"][0]["median"]) == {"value", "low", "high"}
    run(["compare", "base.json", "slow.json", "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "### m: slow against base"
    assert lines[4].startswith("| litert | int8 | **slower** | +")
    assert all(line.count("|") == lines[2].count("|") for line in lines[2:5])


def test_the_table_names_what_differs() -> None:
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    comparison: Comparison = compare_runs(record(result(GOOD)), record(result(GOOD, threads=4)))
    console.print(comparison_table(comparison))
    text = console.export_text()
    assert "litert int8: threads: 1, now 4" in text
    assert "differences below 5% do not count" in text
    assert "litert" in comparison_markdown(comparison)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 99}'])
def test_damaged_and_foreign_records_are_refused(files, capsys, text) -> None:
    (files / "bad.json").write_text(text)
    assert run(["compare", "base.json", "bad.json"]) == 2
    assert "bad.json" in capsys.readouterr().err.replace("\n", "")
    assert run(["compare", "base.json", "gone.json"]) == 2


def test_the_table_names_every_artefact_however_narrow_the_terminal_is() -> None:
    from rich.console import Console

    comparison = compare_runs(record(result(GOOD)), record(result(GOOD)))
    for width in (60, 80):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(comparison_table(comparison))
        text = console.export_text()
        assert "litert int8" in text
        assert "…" not in text
    assert "+0.0 dB" in text
