"""What is measured on the emulated boards: both demo models, every runtime of a board's profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgeconv import ExportOptions, build_bundle, load_bundle, run_benchmark
from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.benchmarks.outputs import RunOutputs
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import Bundle
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.profile import Target, format_profile, load_profile
from edgeconv.export.bundle import write_bundle
from edgeconv.export.onnxruntime import read_graph
from edgeconv.export.operator_bundle import OperatorBundle
from edgeconv.export.operator_parity import OperatorParity
from edgeconv.export.wheels import make_supply
from edgeconv.records import RunRecord
from tests.devices import small_demo

TASKS = ("vessels", "deblur")
PIS = ("pi4", "pi5")
BOARDS = (*PIS, "android")
_SYMMETRIC = ("symmetric", "symmetric-outputs")  # what OpenVINO gets on a Pi 4 and on a Pi 5
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
        devices = (*options.devices, *(find_board(name).profile for name in BOARDS))
        result = build_bundle(dataclasses.replace(options, devices=devices, with_wheels=True))
        assert [built.failures for built in result.bundles] == [[]] * len(devices)
        self._bundles = {built.device: load_bundle(Path(built.path)) for built in result.bundles}
        self.directory = options.output

    def of(self, board: str) -> Bundle:
        return self._bundles[find_board(board).profile]

    def only(self, runtime: str, board: str) -> Bundle:
        """The artefacts of one runtime, with no wheels but its own."""
        whole, path = self.of(board), self.directory / f"{runtime}-{board}"
        artifacts = [a for a in whole.manifest.artifacts if a.runtime == runtime]
        sources = {path: whole.directory / path for artifact in artifacts for path in artifact.paths}
        supply = make_supply(load_profile(find_board(board).profile), [runtime], lambda stage: None)
        with np.load(whole.golden) as golden:
            write_bundle(path, dataclasses.replace(whole.manifest, artifacts=artifacts), sources, dict(golden), supply)
        return load_bundle(path)

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
        super().__init__(ExportOptions(model=task, output=directory, golden_count=1, devices=()))


class SmallDemo(DemoBundles):
    """For inputs of 64x64; and its operators as bundles of their own, one for each quantisation scheme."""

    def __init__(self, task: str, directory: Path) -> None:
        directory.mkdir()
        np.save(directory / "crops.npy", small_demo.crops(task, 18))
        for scheme in _SYMMETRIC:
            (directory / f"{scheme}.toml").write_text(_profile_of(scheme))
        super().__init__(
            ExportOptions(
                model=f"{small_demo.__file__}:{task}",
                input_shapes=(f"1x1x{small_demo.SIZE}x{small_demo.SIZE}",),
                calibration=str(directory / "crops.npy"),
                calibration_count=16,
                golden_count=2,
                output=directory,
                devices=tuple(str(directory / f"{scheme}.toml") for scheme in _SYMMETRIC),
            )
        )
        # the int8 ONNX files of these are the graphs that every other file of their scheme is lowered from
        self._operators = {
            "asymmetric": _operators(self._bundles[find_board("pi5").profile]),
            **{scheme: _operators(self._bundles[scheme]) for scheme in _SYMMETRIC},
        }

    def measure(self, board: str, target: str = "") -> BoardRun:
        run = super().measure(board, target)
        if board not in PIS:  # the Android-like guest has the core and the wheels of the Pi 5
            return run
        rows: list[OperatorParity] = []
        for scheme in dict.fromkeys(t.quantisation for t in load_profile(find_board(board).profile).targets):
            rows += self._measure_operators(scheme, board, target or f"emulated:{board}")
        return dataclasses.replace(run, operators=rows)

    def _measure_operators(self, scheme: str, board: str, target: str) -> list[OperatorParity]:
        profile = load_profile(find_board(board).profile)
        runtimes = [t.runtime for t in profile.targets if (t.precision, t.quantisation) == ("int8", scheme)]
        path = self.directory / f"operators-{scheme}-{board}"
        if not path.exists():  # written for another target
            # the same wheels as the whole model's, whose environment is on the board already
            supply = make_supply(profile, list(dict.fromkeys(t.runtime for t in profile.targets)), lambda stage: None)
            self._operators[scheme].write(path, device=profile.name, runtimes=runtimes, supply=supply)
        kept: dict = {}
        told = run_benchmark(load_bundle(path), target, settings=ONCE, keep=kept.update)
        assert all(kept.values()), [result.invalid_reasons for result in told.results]
        return self._operators[scheme].compare(kept)


def _operators(bundle: Bundle) -> OperatorBundle:
    (port,) = bundle.manifest.inputs
    sample = normalise(np.load(bundle.golden)[f"input.{port.name}"][0], port)
    model = read_graph(bundle.directory / bundle.manifest.artifact("onnxruntime", "int8").path)
    return OperatorBundle(model, {port.name: sample})


def _profile_of(scheme: str) -> str:
    """A Raspberry Pi 5 that wants nothing but the graph that artefacts of a quantisation scheme are lowered from."""
    targets = [Target("onnxruntime", "int8", scheme)]
    return format_profile(dataclasses.replace(load_profile("raspberry-pi-5"), name=scheme, targets=targets))
