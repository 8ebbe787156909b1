"""What is measured on the emulated boards: both demo models, every runtime of a board's profile."""

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
from edgeconv.records import RunRecord
from tests.devices import small_demo

TASKS = ("vessels", "deblur")
PIS = ("pi4", "pi5")
BOARDS = (*PIS, "android")
ONCE = RunSettings.counted(1)  # the outputs are what counts


@dataclasses.dataclass(frozen=True)
class BoardRun:
    """`outputs` are the whole model's; `operators` are checked one by one, [] where they are not."""

    record: RunRecord
    outputs: RunOutputs
    operators: list[OperatorParity]


class DemoBundles:
    """A demo model exported for the boards, with the wheels or the Python that they need."""

    def __init__(self, options: ExportOptions) -> None:
        devices = tuple(find_board(name).profile for name in BOARDS)
        result = build_bundle(dataclasses.replace(options, devices=devices, with_wheels=True))
        assert [built.failures for built in result.bundles] == [[]] * len(devices)
        self._bundles = {built.device: load_bundle(Path(built.path)) for built in result.bundles}
        self.directory = options.output

    def of(self, board: str) -> Bundle:
        return self._bundles[find_board(board).profile]

    def measure(self, board: str, target: str = "") -> BoardRun:
        kept: dict = {}
        record = run_benchmark(self.of(board), target or f"emulated:{board}", settings=ONCE, keep=kept.update)
        return BoardRun(record, kept, [])

    def measure_all(self, boards: Sequence[str]) -> dict[str, BoardRun]:
        """Side by side: each inference keeps one core of this machine busy."""
        with ThreadPoolExecutor(len(boards)) as pool:
            return dict(zip(boards, pool.map(self.measure, boards), strict=True))


class WholeDemo(DemoBundles):
    """As it is shipped, one case."""

    def __init__(self, task: str, directory: Path) -> None:
        super().__init__(ExportOptions(model=task, output=directory, golden_count=1))


class SmallDemo(DemoBundles):
    """For inputs of 64x64; and its operators as bundles of their own."""

    def __init__(self, task: str, directory: Path) -> None:
        directory.mkdir()
        np.save(directory / "crops.npy", small_demo.crops(task, 18))
        super().__init__(
            ExportOptions(
                model=f"{small_demo.__file__}:{task}",
                input_shapes=(f"1x1x{small_demo.SIZE}x{small_demo.SIZE}",),
                calibration=str(directory / "crops.npy"),
                calibration_count=16,
                golden_count=2,
                output=directory,
            )
        )
        bundle = self.of("pi5")  # its ONNX file is the int8 graph that every other file is lowered from
        (port,) = bundle.manifest.inputs
        sample = normalise(np.load(bundle.golden)[f"input.{port.name}"][0], port)
        model = ir.load(bundle.directory / bundle.manifest.artifact("onnxruntime", "int8").path)
        self._operators = OperatorBundle(model, {port.name: sample})
        for board in PIS:
            profile = load_profile(find_board(board).profile)
            runtimes = list(dict.fromkeys(target.runtime for target in profile.targets))
            # the same wheels as the whole model's: their environment is on the board already
            supply = make_supply(profile, runtimes, lambda stage: None)
            self._operators.write(self._operators_path(board), device=profile.name, runtimes=runtimes, supply=supply)

    def measure(self, board: str, target: str = "") -> BoardRun:
        run = super().measure(board, target)
        if board not in PIS:  # the Android-like guest has the core and the wheels of the Pi 5
            return run
        kept: dict = {}
        bundle = load_bundle(self._operators_path(board))
        told = run_benchmark(bundle, target or f"emulated:{board}", settings=ONCE, keep=kept.update)
        assert all(kept.values()), [result.invalid_reasons for result in told.results]
        return dataclasses.replace(run, operators=self._operators.compare(kept))

    def _operators_path(self, board: str) -> Path:
        return self.directory / f"operators-{board}"
