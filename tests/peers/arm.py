"""What int8 gains on ARM kernels: latencies on an emulated Cortex-A76 whose clock counts instructions, as docs/arm.md.

It boots one emulated Raspberry Pi 5, pip fetches the runtimes' aarch64 wheels, and nothing else is measured: the clock
advances by one nanosecond an instruction, so a busy machine changes nothing but how long this takes (about 20 minutes).
Exit code 1 when a bound is not met.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

import arm_nets
import numpy as np
from plain_lowering import plain_exports
from results import OURS, PLAIN
from subjects import Subject, find_subject
from trained import train_missing

from edgeconv.benchmarks.run import run_benchmark
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import load_bundle
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.emulate.running import start_running, stop_running
from edgeconv.devices.emulate.systems import board_image
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.files import atomic_write_bytes
from edgeconv.records import RunRecord

_ROOT = Path(__file__).resolve().parents[2]
_BOARD = "pi5-deterministic"
_RUNTIMES = {"litert": "LiteRT", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
_FACTORIES = {"vessels": "vessels", "deblur": "deblur", "unet-1m": "million"}  # in arm_nets.py
_COUNT = 3  # a clock that counts instructions repeats
_CALIBRATION_IMAGES = 16
_GOLDEN_IMAGES = 2
_LIMIT = 0.85  # of the plain lowering
_CORES = 2
_PAGE = """\
# int8 on ARM, in instructions

Made by `make arm` on {date}: the networks of SFConv pairs and CoordGates for inputs of {size}x{size}, exported for
`raspberry-pi-5` and measured by the bundle's agent on the emulated board `{board}`: the aarch64 wheels of the runtimes
run the kernels that they choose on a Cortex-A76 (dot product, fp16), one thread, and the clock advances by one
nanosecond an instruction. So these milliseconds are millions of instructions, not a device's time: caches, memory and
issue width are not in them, and the same run gives the same figures on any machine.

*Plain lowering* is the same export with no rewrite but the folding of constants and BatchNorms, one operator for one,
and no refinement of the integers (`tests/peers/plain_lowering.py`). SQNR is against PyTorch, of {golden} crops.

{table}

The bound is ≤ {limit:g} of the plain lowering.
"""


@dataclasses.dataclass(frozen=True)
class _Row:
    """Latencies in counted nanoseconds, SQNR in dB; None: it did not run."""

    model: str
    runtime: str
    ours_ns: int | None
    plain_ns: int | None
    fp32_ns: int | None
    ours_db: float | None
    plain_db: float | None

    @property
    def ratio(self) -> float | None:
        """Ours to the plain lowering."""
        return self.ours_ns / self.plain_ns if self.ours_ns and self.plain_ns else None

    def cells(self) -> list[str]:
        gain = self.ours_ns / self.fp32_ns if self.ours_ns and self.fp32_ns else None
        verdict = "met" if self.ratio is not None and self.ratio <= _LIMIT else "missed"
        times = [_text(None if ns is None else ns / 1e6, 1) for ns in (self.ours_ns, self.plain_ns, self.fp32_ns)]
        ratios = [_text(self.ratio, 3), verdict, _text(gain, 3)]
        return [self.model, _RUNTIMES[self.runtime], *times, *ratios, _text(self.ours_db, 1), _text(self.plain_db, 1)]


_HEAD = ["model", "runtime", "int8", "int8, plain lowering", "fp32", "int8 ÷ plain", "bound", "int8 ÷ fp32"]
_HEAD += ["SQNR dB", "SQNR dB, plain lowering"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(_FACTORIES), choices=list(_FACTORIES), metavar="MODEL")
    parser.add_argument("--output", type=Path, default=_ROOT / "build" / "peers")
    parser.add_argument("--document", type=Path, default=_ROOT / "docs" / "arm.md")
    options = parser.parse_args()
    output = options.output.resolve()
    subjects = [find_subject(name) for name in options.models]
    train_missing(subjects, output, _CORES, print)
    with tempfile.TemporaryDirectory(prefix="edgeconv-arm-") as temporary, booted(_BOARD, Path(temporary)):
        rows = [row for subject in subjects for row in _measure(subject, output, Path(temporary))]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in _lines(rows))
    print(table)
    page = _PAGE.format(
        date=datetime.date.today().isoformat(),
        size=arm_nets.SIZE_PX,
        board=_BOARD,
        golden=_GOLDEN_IMAGES,
        table=table,
        limit=_LIMIT,
    )
    atomic_write_bytes(options.document, page.encode())
    return 0 if all(row.ratio is not None and row.ratio <= _LIMIT for row in rows) else 1


@contextlib.contextmanager
def booted(name: str, directory: Path) -> Iterator[None]:
    """The board `name`, apart from those that the user runs; one for all, so that the wheels travel once."""
    folder = directory / "run"
    folder.mkdir(mode=0o700)
    board = find_board(name)
    with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
        start_running(board, board_image(board.system), progress=print, detached=False)
        try:
            yield
        finally:
            stop_running(board)


def _measure(subject: Subject, output: Path, directory: Path) -> Iterator[_Row]:
    plain = _run(subject, PLAIN, output, directory)
    ours = _run(subject, OURS, output, directory)
    for runtime in _RUNTIMES:
        yield _Row(
            subject.name,
            runtime,
            _median_ns(ours, runtime, "int8"),
            _median_ns(plain, runtime, "int8"),
            _median_ns(ours, runtime, "fp32"),
            _sqnr_db(ours, runtime),
            _sqnr_db(plain, runtime),
        )


def _run(subject: Subject, converter: str, output: Path, directory: Path) -> RunRecord:
    """Export in one of the two ways, and measure on the board."""
    options = dataclasses.replace(
        options_of(subject, output, directory),
        devices=(find_board(_BOARD).profile,),
        golden_count=_GOLDEN_IMAGES,
        runtimes=tuple(_RUNTIMES),
        output=directory / converter,
        with_wheels=True,
    )
    print(f"{subject.name}: {converter}", flush=True)
    with _way(converter):
        (built,) = build_bundle(options).bundles
    return run_benchmark(load_bundle(Path(built.path)), f"emulated:{_BOARD}", settings=RunSettings.counted(_COUNT))


def options_of(subject: Subject, output: Path, directory: Path) -> ExportOptions:
    """How the model's small network is exported, apart from the device; its calibration images go to `directory`."""
    images = directory / f"{subject.name}.npy"
    np.save(images, _crops(subject, _CALIBRATION_IMAGES))
    return ExportOptions(
        model=f"{arm_nets.__file__}:{_FACTORIES[subject.name]}",
        weights=subject.weights(output) or subject.task.checkpoint_path,
        input_shapes=(f"1x1x{arm_nets.SIZE_PX}x{arm_nets.SIZE_PX}",),
        calibration=str(images),
        name=subject.name,
    )


def _way(converter: str) -> AbstractContextManager[object]:
    return plain_exports() if converter == PLAIN else nullcontext()


def _crops(subject: Subject, count: int) -> np.ndarray:
    """From the middle of the calibration images."""
    images = subject.task.calibration(count)
    start = (images.shape[-1] - arm_nets.SIZE_PX) // 2
    return images[:, :, start : start + arm_nets.SIZE_PX, start : start + arm_nets.SIZE_PX]


def _median_ns(record: RunRecord, runtime: str, precision: str) -> int | None:
    """Of samples so few that the record gives no percentile."""
    found = (r.latency_ns.samples for r in record.results if (r.runtime, r.precision) == (runtime, precision))
    return next((int(np.median(samples)) for samples in found if samples), None)


def _sqnr_db(record: RunRecord, runtime: str) -> float | None:
    drifts = [r.drift for r in record.results if (r.runtime, r.precision) == (runtime, "int8")]
    return next((drift.total.sqnr_db for drift in drifts if drift is not None), None)


def _lines(rows: Sequence[_Row]) -> list[list[str]]:
    return [_HEAD, ["---"] * 2 + ["---:"] * (len(_HEAD) - 2), *(row.cells() for row in rows)]


def _text(value: float | None, digits: int) -> str:
    return "did not run" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
