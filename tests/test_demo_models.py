"""What the two trained demo models must reach, through the real converters, runtimes and the bundle's own agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv import ExportOptions, build_bundle, check_parity, load_bundle, run_benchmark
from edgeconv.benchmarks.run import RunSettings
from edgeconv.bundles import Bundle
from edgeconv.records import Result, RunRecord

TASKS = ("vessels", "deblur")
RUNTIMES = ("litert", "onnxruntime", "openvino")


@pytest.fixture(scope="module", params=TASKS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, RunRecord]:
    output = tmp_path_factory.mktemp(request.param)
    result = build_bundle(ExportOptions(model=request.param, output=output))
    assert result.bundles[0].failures == []
    bundle = load_bundle(Path(result.bundles[0].path))
    return bundle, run_benchmark(bundle, settings=RunSettings.quick())


def _result(record: RunRecord, runtime: str, precision: str) -> Result:
    return next(r for r in record.results if (r.runtime, r.precision) == (runtime, precision))


def _sqnr(value: float | None) -> float:
    return float("inf") if value is None else value


def test_every_bound_of_the_default_tolerances_holds(run: tuple[Bundle, RunRecord]) -> None:
    verdict = check_parity(run[1])
    assert verdict.passed, verdict


def test_export_drift_is_at_least_90_db(run: tuple[Bundle, RunRecord]) -> None:
    for result in run[1].results:
        assert result.drift is not None
        assert _sqnr(result.drift.export.sqnr_db) >= 90


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fp32_is_at_least_80_db(run: tuple[Bundle, RunRecord], runtime: str) -> None:
    drift = _result(run[1], runtime, "fp32").drift
    assert drift is not None
    assert _sqnr(drift.total.sqnr_db) >= 80


def test_openvino_fp16_is_at_least_50_db(run: tuple[Bundle, RunRecord]) -> None:
    drift = _result(run[1], "openvino", "fp16").drift
    assert drift is not None
    assert _sqnr(drift.total.sqnr_db) >= 50


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_int8_keeps_28_db_and_the_task_metric(run: tuple[Bundle, RunRecord], runtime: str) -> None:
    result = _result(run[1], runtime, "int8")
    assert result.drift is not None
    assert result.task is not None
    assert _sqnr(result.drift.total.sqnr_db) >= 28
    assert abs(result.task.value - result.task.torch) <= 0.01 * abs(result.task.torch)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_int8_is_within_0_3_db_of_the_reference(run: tuple[Bundle, RunRecord], runtime: str) -> None:
    drift = _result(run[1], runtime, "int8").drift
    assert drift is not None
    assert abs(_sqnr(drift.total.sqnr_db) - _sqnr(drift.reference.sqnr_db)) <= 0.3


def test_no_transpose_is_left_in_the_tflite_files(run: tuple[Bundle, RunRecord]) -> None:
    for precision in ("fp32", "int8"):
        assert run[0].manifest.artifact("litert", precision).facts["transposes"] == "0"


def test_tflite_int8_has_int8_inputs_and_outputs(run: tuple[Bundle, RunRecord]) -> None:
    artifact = run[0].manifest.artifact("litert", "int8")
    assert {tensor.dtype for tensor in [*artifact.inputs, *artifact.outputs]} == {"int8"}


def test_the_demo_models_have_pairs_and_gates() -> None:
    from torch import nn

    from edgeconv.layers import CoordGate2d, SFConv2d
    from edgeconv.models.loading import load_model

    for task in TASKS:
        module = load_model(task).module
        assert module is not None
        kinds = [type(m) for m in module.modules()]
        assert kinds.count(SFConv2d) >= 8
        assert kinds.count(CoordGate2d) >= 4
        assert kinds.count(nn.BatchNorm2d) >= 8
