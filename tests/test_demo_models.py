"""What the two trained demo models must reach, through the real converters, runtimes and the bundle's own agent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv import ExportOptions, build_bundle, check_parity, load_bundle, run_benchmark
from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.benchmarks.run import RunSettings
from edgeconv.bundles import Bundle
from edgeconv.export.onnxruntime import read_graph
from edgeconv.export.operator_parity import check_operators
from edgeconv.records import Result, RunRecord

TASKS = ("vessels", "deblur")
RUNTIMES = ("litert", "onnxruntime", "openvino")


@pytest.fixture(scope="module", params=TASKS)
def bundles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    devices = ("host", "raspberry-pi-5")
    result = build_bundle(
        ExportOptions(model=request.param, output=tmp_path_factory.mktemp(request.param), devices=devices)
    )
    assert [built.failures for built in result.bundles] == [[], []]
    return {built.device: load_bundle(Path(built.path)) for built in result.bundles}


@pytest.fixture(scope="module")
def run(bundles: dict[str, Bundle]) -> tuple[Bundle, RunRecord]:
    return bundles["host"], run_benchmark(bundles["host"], settings=RunSettings.quick())


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


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_each_operator_fed_with_the_reference_s_integers_is_at_most_one_step_off(
    bundles: dict[str, Bundle], runtime: str
) -> None:
    bundle = bundles["raspberry-pi-5"]  # its ONNX file is the int8 graph that every other file is lowered from
    model = read_graph(bundle.directory / bundle.manifest.artifact("onnxruntime", "int8").path)
    (port,) = bundle.manifest.inputs
    sample = {port.name: normalise(np.load(bundle.golden)[f"input.{port.name}"][0], port)}
    rows = check_operators(model, [sample], [runtime])
    assert len(rows) >= 30
    assert [row for row in rows if not row.passed] == []


def test_no_transpose_is_left_in_the_tflite_files(run: tuple[Bundle, RunRecord]) -> None:
    for precision in ("fp32", "int8"):
        assert run[0].manifest.artifact("litert", precision).facts["transposes"] == "0"


def test_tflite_int8_reads_and_writes_int8_but_for_the_sum_at_the_end_of_a_residual_network(
    run: tuple[Bundle, RunRecord],
) -> None:
    artifact = run[0].manifest.artifact("litert", "int8")
    assert {tensor.dtype for tensor in artifact.inputs} == {"int8"}
    written = {"vessels": ("int8", "qdq"), "deblur": ("float32", "qdq+float")}[run[0].manifest.model.name]
    assert (artifact.outputs[0].dtype, artifact.reference) == written


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_outputs_that_can_be_are_in_float(run: tuple[Bundle, RunRecord], runtime: str) -> None:
    """An 8-bit output has 256 values at most."""
    assert run[0].manifest.artifact(runtime, "int8").reference == "qdq+float"
    golden = np.load(run[0].golden)
    (port,) = run[0].manifest.outputs
    assert np.unique(golden[f"qdq.{port.name}"]).size <= 256 < np.unique(golden[f"qdq+float.{port.name}"]).size
    torch, stored, freed = (np.float64(golden[f"{name}.{port.name}"]) for name in ("torch", "qdq", "qdq+float"))
    assert np.square(freed - torch).sum() < np.square(stored - torch).sum()


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
