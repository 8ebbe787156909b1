from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edgeconv.benchmarks.compare import compare_runs, comparison_table
from edgeconv.errors import RecordError
from edgeconv.records import Host, Latency, Memory, Result, RunRecord

Noise = Callable[[float, int], list[int]]


def _result(samples: list[int], *, valid: bool = True, runtime: str = "litert") -> Result:
    return Result(
        runtime,
        "int8",
        valid,
        [] if valid else ["busy"],
        "0" * 64,
        1,
        Latency(samples, None, None, None, []),
        None,
        None,
        None,
        Memory(None, None, ""),
        None,
        None,
        None,
        1,
        {},
    )


def _record(*results: Result, model: str = "m", emulated: bool = False) -> RunRecord:
    host = Host("x86_64", "Linux", None, [], 2, None, None, "3.11", emulated, "wall")
    return RunRecord(1, "id", "now", "0", "local:", "b", "0" * 64, model, "host", host, list(results))


def _samples(median_ns: float, seed: int, count: int = 150) -> list[int]:
    """Latencies as machines give them: a floor, a skewed tail and rare stalls."""
    rng = np.random.default_rng(seed)
    values = median_ns * (1 + 0.02 * rng.gamma(2.0, 1.0, count))
    values[rng.random(count) < 0.02] *= 1.5
    return [int(v) for v in values]


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "slower"), (0.8, "faster"), (1.0, "same")])
def test_the_verdict_follows_the_interval(factor: float, verdict: str) -> None:
    comparison = compare_runs(_record(_result(_samples(1e7, 1))), _record(_result(_samples(factor * 1e7, 2))))
    (row,) = comparison.rows
    assert row.verdict == verdict
    assert row.ratio == pytest.approx(factor, rel=0.02)
    assert comparison.worse == (verdict == "slower")


def test_few_scattered_samples_cannot_tell() -> None:
    rng = np.random.default_rng(0)
    wild = [[int(v) for v in rng.uniform(5e6, 2e7, 8)] for _ in range(2)]
    (row,) = compare_runs(_record(_result(wild[0])), _record(_result(wild[1]))).rows
    assert row.verdict == "can't tell"


def test_missing_new_and_invalid_rows_are_events() -> None:
    good = _samples(1e7, 1)
    base = _record(_result(good), _result(good, runtime="openvino"), _result(good, runtime="onnxruntime"))
    after = _record(_result(good, valid=False), _result(good, runtime="openvino"), _result(good, runtime="torch"))
    comparison = compare_runs(base, after)
    verdicts = {row.runtime: row.verdict for row in comparison.rows}
    expected = {"litert": "newly invalid", "openvino": "same", "onnxruntime": "missing", "torch": "new"}
    assert verdicts == expected
    assert comparison.worse
    assert comparison_table(comparison).row_count == 4


def test_a_ten_percent_slowdown_is_caught_and_false_alarms_are_rare() -> None:
    caught = alarms = 0
    for seed in range(60):
        base = _record(_result(_samples(1e7, seed)))
        caught += compare_runs(base, _record(_result(_samples(1.1e7, seed + 1000)))).worse
        alarms += compare_runs(base, _record(_result(_samples(1e7, seed + 2000)))).worse
    assert caught >= 57
    assert alarms == 0


def test_runs_that_do_not_belong_together_are_refused() -> None:
    record = _record(_result(_samples(1e7, 1)))
    with pytest.raises(RecordError, match="different models"):
        compare_runs(record, dataclasses.replace(record, model="other"))
    with pytest.raises(RecordError, match="emulated"):
        compare_runs(record, _record(*record.results, emulated=True))
