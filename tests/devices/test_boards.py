"""Both demo models on emulated boards: what a Cortex-A72 and a Cortex-A76 compute, in every runtime of a profile."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeconv import run_benchmark
from edgeconv.benchmarks.compare import compare_runs
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.records import Result, RunRecord
from tests.devices.board_runs import BOARDS, PIS, TASKS, BoardRun, DemoBundles, SmallDemo, WholeDemo
from tests.devices.conftest import Boards

pytestmark = pytest.mark.device
RUNTIMES = ("litert", "onnxruntime", "openvino")
SIZES: dict[str, type[DemoBundles]] = {"small": SmallDemo, "whole": WholeDemo}


class Measured:
    """Measures what a test asks for, once; the two Raspberry Pis side by side."""

    def __init__(self, boards: Boards, directory: Path) -> None:
        self._boards, self._directory = boards, directory
        self._bundles: dict[tuple[str, str], DemoBundles] = {}
        self._runs: dict[tuple[str, str, str], BoardRun] = {}

    def bundles(self, size: str, task: str) -> DemoBundles:
        if (size, task) not in self._bundles:
            self._bundles[size, task] = SIZES[size](task, self._directory / f"{size}-{task}")
        return self._bundles[size, task]

    def run(self, size: str, task: str, board: str) -> BoardRun:
        if (size, task, board) not in self._runs:
            bundles = self.bundles(size, task)
            together = PIS if board in PIS else (board,)
            for name in together:
                self._boards.get(name)
            for name, run in bundles.measure_all(together).items():
                self._runs[size, task, name] = run
        return self._runs[size, task, board]


@pytest.fixture(scope="module")
def measured(boards: Boards, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return Measured(boards, tmp_path_factory.mktemp("boards"))


# Of a whole image, a floating-point inference takes an emulated board ten seconds.
@pytest.fixture(scope="module", params=["small", pytest.param("whole", marks=pytest.mark.slow)])
def size(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=BOARDS)
def board(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=TASKS)
def task(request) -> str:
    return request.param


@pytest.fixture
def run(measured: Measured, size: str, board: str, task: str) -> BoardRun:
    return measured.run(size, task, board)


def sqnr(value: float | None) -> float:
    return float("inf") if value is None else value


def test_every_artefact_of_the_profile_runs_and_the_record_says_that_it_is_emulated(run, measured, size, board, task):
    wanted = {(a.runtime, a.precision) for a in measured.bundles(size, task).of(board).manifest.artifacts}
    assert {(r.runtime, r.precision) for r in run.record.results} == wanted
    for result in run.record.results:
        assert result.drift is not None, result.invalid_reasons
        assert result.latency_ns.samples
    host = run.record.host
    assert (host.machine, host.emulated, host.clock) == ("aarch64", True, "wall")


def test_int8_is_within_0_3_db_of_the_reference(run):
    for result in (r for r in run.record.results if r.precision == "int8"):
        assert abs(sqnr(result.drift.total.sqnr_db) - sqnr(result.drift.reference.sqnr_db)) <= 0.3, result.runtime


def test_fp32_is_at_least_80_db_and_fp16_at_least_50_db(run):
    for result in (r for r in run.record.results if r.precision != "int8"):
        bound = {"fp32": 80, "fp16": 50}[result.precision]
        assert sqnr(result.drift.total.sqnr_db) >= bound, result.runtime


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("pi", PIS)
def test_an_operator_fed_with_the_reference_s_integers_is_at_most_one_step_off(measured, task, pi, runtime):
    rows = [row for row in measured.run("small", task, pi).operators if row.runtime == runtime]
    assert len(rows) >= 25  # a network of ours has about forty operators, some with no integers of their own
    assert [row for row in rows if not row.passed] == []


@pytest.fixture(scope="module")
def deterministic(boards: Boards, measured: Measured) -> list[RunRecord]:
    """LiteRT in two runs on a deterministic Pi 5."""
    boards.get("pi5-deterministic")
    bundle, settings = measured.bundles("small", "vessels").only("litert", "pi5"), RunSettings.counted(9)
    found = [run_benchmark(bundle, "emulated:pi5-deterministic", settings=settings) for _ in range(2)]
    assert all((record.host.emulated, record.host.clock) == (True, "virtual") for record in found)
    return found


def medians(record: RunRecord) -> dict[str, float]:
    return {result.precision: result.latency_ns.p50 or 0.0 for result in record.results}


def test_a_latency_of_a_deterministic_board_repeats(deterministic):
    first, second = map(medians, deterministic)
    for precision in ("int8", "fp32"):
        assert first[precision] == pytest.approx(second[precision], rel=1e-3)


def test_int8_is_faster_than_fp32_on_a_cortex_a76(deterministic):
    for found in map(medians, deterministic):
        assert found["int8"] < 0.7 * found["fp32"]


def test_a_change_of_five_percent_is_found_and_none_is_not(deterministic):
    base, candidate = deterministic
    assert [row.verdict for row in compare_runs(base, candidate).rows] == ["same", "same"]
    slower = dataclasses.replace(candidate, results=[_delayed(result, 1.05) for result in candidate.results])
    comparison = compare_runs(base, slower)
    assert comparison.worse
    assert [row.verdict for row in comparison.rows] == ["slower", "slower"]


def _delayed(result: Result, factor: float) -> Result:
    samples = [round(sample * factor) for sample in result.latency_ns.samples]
    return dataclasses.replace(result, latency_ns=dataclasses.replace(result.latency_ns, samples=samples))
