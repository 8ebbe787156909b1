"""Both demo models on emulated boards: what a Cortex-A72 and a Cortex-A76 compute, in every runtime of a profile."""

from __future__ import annotations

import pytest

from edgeconv import run_benchmark
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.records import Latency
from tests.devices.board_runs import BOARDS, OPERATOR_BOARDS, TASKS, BoardRun, TaskBundles
from tests.devices.conftest import Boards

pytestmark = [pytest.mark.device, pytest.mark.slow]
RUNTIMES = ("litert", "onnxruntime", "openvino")


class Measured:
    """Measures what a test asks for, the two Raspberry Pis side by side."""

    def __init__(self, boards: Boards, directory) -> None:
        self._boards, self._directory = boards, directory
        self._bundles: dict[str, TaskBundles] = {}
        self._runs: dict[tuple[str, str], BoardRun] = {}

    def bundles(self, task: str) -> TaskBundles:
        if task not in self._bundles:
            self._bundles[task] = TaskBundles(task, self._directory / task)
        return self._bundles[task]

    def run(self, task: str, board: str) -> BoardRun:
        if (task, board) not in self._runs:
            together = OPERATOR_BOARDS if board in OPERATOR_BOARDS else (board,)
            bundles = self.bundles(task)
            for name in together:
                self._boards.get(name)
            for name, run in bundles.measure_all(together).items():
                self._runs[task, name] = run
        return self._runs[task, board]


@pytest.fixture(scope="module")
def measured(boards: Boards, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return Measured(boards, tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="module", params=BOARDS)
def board(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=TASKS)
def task(request) -> str:
    return request.param


@pytest.fixture
def run(measured: Measured, board: str, task: str) -> BoardRun:
    return measured.run(task, board)


def sqnr(value: float | None) -> float:
    return float("inf") if value is None else value


def test_every_artefact_of_the_profile_is_run_and_the_record_says_that_it_is_emulated(run, measured, board, task):
    wanted = {(a.runtime, a.precision) for a in measured.bundles(task).whole(board).manifest.artifacts}
    assert {(r.runtime, r.precision) for r in run.record.results} == wanted
    for result in run.record.results:
        assert result.drift is not None, result.invalid_reasons
        assert result.latency_ns.samples
    assert run.record.host.machine == "aarch64"
    assert run.record.host.emulated
    assert run.record.host.clock == "wall"


def test_int8_is_within_0_3_db_of_the_reference(run):
    for result in (r for r in run.record.results if r.precision == "int8"):
        assert abs(sqnr(result.drift.total.sqnr_db) - sqnr(result.drift.reference.sqnr_db)) <= 0.3, result.runtime


def test_fp32_is_at_least_80_db_and_fp16_at_least_50_db(run):
    for result in (r for r in run.record.results if r.precision != "int8"):
        bound = {"fp32": 80, "fp16": 50}[result.precision]
        assert sqnr(result.drift.total.sqnr_db) >= bound, (result.runtime, result.drift.total.sqnr_db)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("pi", OPERATOR_BOARDS)
def test_an_operator_fed_with_the_reference_s_integers_is_at_most_one_step_off(measured, task, pi, runtime):
    rows = [row for row in measured.run(task, pi).operators if row.runtime == runtime]
    assert len(rows) >= 30
    assert [row for row in rows if not row.passed] == []


@pytest.fixture(scope="module")
def deterministic(boards: Boards, measured: Measured) -> list[dict[str, Latency]]:
    """LiteRT's latencies of two runs, by precision."""
    boards.get("pi5-deterministic")
    bundle = measured.bundles("deblur").whole("pi5")
    found = []
    for _ in range(2):
        record = run_benchmark(
            bundle,
            "emulated:pi5-deterministic",
            runtimes=["litert"],
            precisions=["int8", "fp32"],
            settings=RunSettings.counted(7),
        )
        assert record.host.clock == "virtual"
        found.append({result.precision: result.latency_ns for result in record.results})
    return found


def test_a_latency_of_a_deterministic_board_repeats(deterministic):
    first, second = deterministic
    for precision in ("int8", "fp32"):
        assert first[precision].p50 == pytest.approx(second[precision].p50, rel=1e-3)


def test_int8_is_faster_than_fp32_on_a_cortex_a76(deterministic):
    for latencies in deterministic:
        assert latencies["int8"].p50 < 0.7 * latencies["fp32"].p50
