"""What is measured on the emulated boards, once a session: both demo models, every runtime of a board's profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeconv import ExportOptions, build_bundle, load_bundle, run_benchmark
from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.benchmarks.outputs import RunOutputs
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import Bundle
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.profile import load_profile
from edgeconv.export.operator_bundle import OperatorBundle
from edgeconv.export.operator_parity import OperatorParity
from edgeconv.export.wheels import make_supply
from edgeconv.records import Result, RunRecord
from tests.devices import small_demo

TASKS = ("vessels", "deblur")
BOARDS = ("pi4", "pi5", "android")
OPERATOR_BOARDS = ("pi4", "pi5")  # the Android-like guest has the core and the wheels of the Pi 5
GOLDEN_CASES = 2  # an inference takes an emulated board half a second
ONCE = RunSettings.counted(1)  # the outputs are what counts


@dataclasses.dataclass(frozen=True)
class BoardRun:
    """The whole model, and its operators one by one ([] where they are not checked)."""

    record: RunRecord
    outputs: RunOutputs
    operators: list[OperatorParity]

    def result(self, runtime: str, precision: str) -> Result:
        return next(r for r in self.record.results if (r.runtime, r.precision) == (runtime, precision))


class TaskBundles:
    """What is exported of one task for the boards, wheels or Python included."""

    def __init__(self, task: str, directory: Path) -> None:
        devices = tuple(find_board(name).profile for name in BOARDS)
        result = build_bundle(
            ExportOptions(model=task, output=directory, devices=devices, golden_count=GOLDEN_CASES, with_wheels=True)
        )
        assert [built.failures for built in result.bundles] == [[]] * len(devices)
        self._bundles = {built.device: load_bundle(Path(built.path)) for built in result.bundles}
        self._directory = directory
        self._operators = self._small_operators(task)
        self._operator_bundles: dict[str, Bundle] = {}

    def whole(self, board: str) -> Bundle:
        return self._bundles[find_board(board).profile]

    def operators(self, board: str) -> Bundle:
        """The same wheels go with it, so the environment that is made for the whole model is there already."""
        profile = load_profile(find_board(board).profile)
        if board not in self._operator_bundles:
            path = self._directory / f"operators-{profile.name}"
            runtimes = list(dict.fromkeys(target.runtime for target in profile.targets))
            self._settled(path, profile.name, runtimes, profile.onnx_activations)
            self._operator_bundles[board] = load_bundle(path)
        return self._operator_bundles[board]

    def _settled(self, path: Path, device: str, runtimes: Sequence[str], activations: str) -> None:
        supply = make_supply(load_profile(device), list(runtimes), lambda stage: None)
        self._operators.write(path, device=device, runtimes=runtimes, activations=activations, supply=supply)

    def measure(self, board: str) -> BoardRun:
        return self.measure_on(f"emulated:{board}", board, operators=board in OPERATOR_BOARDS)

    def measure_on(self, target: str, board: str, *, operators: bool) -> BoardRun:
        """What is exported for `board`, on any target."""
        whole: dict = {}
        record = run_benchmark(self.whole(board), target, settings=ONCE, keep=whole.update)
        single: dict = {}
        if operators:
            told = run_benchmark(self.operators(board), target, settings=ONCE, keep=single.update)
            assert all(single.values()), [result.invalid_reasons for result in told.results]
        return BoardRun(record, whole, self._operators.compare(single))

    def measure_all(self, boards: Sequence[str]) -> dict[str, BoardRun]:
        """Side by side: each inference keeps one core of this machine busy."""
        with ThreadPoolExecutor(len(boards)) as pool:
            return dict(zip(boards, pool.map(self.measure, boards), strict=True))

    def _small_operators(self, task: str) -> OperatorBundle:
        crops = self._directory / "crops.npy"
        np.save(crops, small_demo.crops(task, 9))
        result = build_bundle(
            ExportOptions(
                model=f"{small_demo.__file__}:{task}",
                input_shapes=(f"1x1x{small_demo.SIZE}x{small_demo.SIZE}",),
                calibration=str(crops),
                calibration_count=8,
                golden_count=1,
                devices=("raspberry-pi-5",),
                runtimes=("onnxruntime",),
                output=self._directory / "small",
            )
        )
        bundle = load_bundle(Path(result.bundles[0].path))
        (port,) = bundle.manifest.inputs
        sample = normalise(np.load(bundle.golden)[f"input.{port.name}"][0], port)
        model = ir.load(bundle.directory / bundle.manifest.artifact("onnxruntime", "int8").path)
        return OperatorBundle(model, {port.name: sample})
