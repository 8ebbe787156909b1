"""What a Cortex-A72, a Cortex-A76 and this machine compute from the same files, as docs/boards.md.

`make boards` boots two emulated Raspberry Pis and takes about half an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgeconv.benchmarks.agent.host import read_host
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.profile import load_profile
from edgeconv.export.operator_parity import OperatorParity
from edgeconv.files import atomic_write_bytes
from edgeconv.records import Result
from tests.devices.board_runs import PIS, TASKS, BoardRun, DemoBundles, SmallDemo, WholeDemo
from tests.devices.conftest import Boards

_ROOT = Path(__file__).resolve().parents[2]
_LOCAL = "local"
_COLUMNS = {_LOCAL: "x86", "pi4": "Cortex-A72", "pi5": "Cortex-A76"}
_PAIRS = (("pi4", _LOCAL), ("pi5", _LOCAL), ("pi4", "pi5"))
_HEAD = """\
# The same files on three processors

Made by `make boards` on {date}: both demo models, exported for `raspberry-pi-4` and
`raspberry-pi-5` with the wheels that a board gets, measured by the bundle's agent on the emulated boards `pi4`
(Cortex-A72: no dot product) and `pi5` (Cortex-A76: dot product, fp16), and by the same versions of the runtimes on
{cpu}. Emulated processors compute what real ones do, instruction by instruction; how long they take says nothing.

## Whole models

SQNR in dB against PyTorch, of a held-out image (vessels) or two crops of 64x64 (deblur); *Q/DQ* is that of the
reference which every int8 file was lowered from. Right of it, how far two processors' outputs are from each other.
Rounding is chaotic: one value off by one step in an early layer becomes many in the last, so that two correct int8
runs are as far apart as their own quantisation noise. What counts is that none is further from PyTorch than the
reference by more than 0.3 dB. OpenVINO's int8 graph for the Cortex-A76 is another one than for the Cortex-A72, which
has no dot product; x86 computes that of the Cortex-A76.

{whole}

## What is computed in int8

The part of the multiply-accumulates that integer kernels compute, as each runtime tells on the processor itself.

{shares}

## Operators fed alike

Every int8 operator of both models (inputs of 64x64) is fed with the integers that the reference computes, and its
integers are compared: the largest difference in steps of the output's grid, and how many of a million values differ.

{operators}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", type=Path, default=_ROOT / "docs" / "boards.md")
    document = parser.parse_args().document
    with tempfile.TemporaryDirectory(prefix="edgeconv-boards-") as temporary, _booted(Path(temporary) / "run"):
        small = {task: _measure(SmallDemo(task, Path(temporary) / f"small-{task}")) for task in TASKS}
        vessels = _measure(WholeDemo("vessels", Path(temporary) / "whole-vessels"))  # twenty minutes; the other as long
    whole = {"vessels": vessels, "deblur, 64x64": small["deblur"]}
    text = _HEAD.format(
        date=datetime.date.today().isoformat(),
        cpu=read_host().cpu_model or "this machine",
        whole="\n".join(_whole_rows(whole)),
        shares="\n".join(_share_rows(whole)),
        operators="\n".join(_operator_rows(small)),
    )
    atomic_write_bytes(document, text.encode())


@contextlib.contextmanager
def _booted(runtime_folder: Path) -> Iterator[None]:
    """Both boards, apart from those that the user runs."""
    runtime_folder.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime_folder)
    pool = Boards()
    try:
        for name in PIS:
            pool.get(name)
        yield
    finally:
        pool.stop_all()


def _measure(bundles: DemoBundles) -> dict[str, BoardRun]:
    return {**bundles.measure_all(PIS), _LOCAL: bundles.measure("pi5", "local:")}


def _whole_rows(runs: dict[str, dict[str, BoardRun]]) -> Iterator[str]:
    names = list(_COLUMNS.values())
    between = [f"{_COLUMNS[one]} and {_COLUMNS[other]}" for one, other in _PAIRS]
    yield _row(["model", "runtime", "precision", "Q/DQ", *names, *between])
    yield _row(["---"] * 3 + ["---:"] * (1 + len(names) + len(between)))
    for task, by_board in runs.items():
        for reference in by_board["pi5"].record.results:
            key = reference.runtime, reference.precision
            results = {board: _result(by_board[board], key) for board in _COLUMNS}
            shown = [_db(result.drift.total.sqnr_db) if result.drift else "did not run" for result in results.values()]
            expected = [_expected(result) for result in results.values() if result.precision == "int8"]
            apart = [
                _apart(by_board[one], by_board[other], key) if _alike(one, other, key) else "other graph"
                for one, other in _PAIRS
            ]
            yield _row([task, *key, " or ".join(dict.fromkeys(expected)), *shown, *apart])


def _share_rows(runs: dict[str, dict[str, BoardRun]]) -> Iterator[str]:
    yield _row(["model", "runtime", *_COLUMNS.values()])
    yield _row(["---"] * 2 + ["---:"] * len(_COLUMNS))
    for task, by_board in runs.items():
        for runtime in dict.fromkeys(result.runtime for result in by_board["pi5"].record.results):
            ran = [_result(by_board[board], (runtime, "int8")).execution for board in _COLUMNS]
            shares = [one.int8_mac_share if one is not None else None for one in ran]
            yield _row([task, runtime, *("" if share is None else f"{100 * share:.1f} %" for share in shares)])


def _operator_rows(runs: dict[str, dict[str, BoardRun]]) -> Iterator[str]:
    names = list(_COLUMNS.values())
    yield _row(["model", "runtime", "operators", *names])
    yield _row(["---"] * 2 + ["---:"] * (1 + len(names)))
    for task, by_board in runs.items():
        for runtime in dict.fromkeys(row.runtime for row in by_board["pi5"].operators):
            of_board = {b: [row for row in by_board[b].operators if row.runtime == runtime] for b in _COLUMNS}
            shown = [f"{max(r.max_steps for r in rows)}, {_share(rows) * 1e6:.0f}" for rows in of_board.values()]
            yield _row([task, runtime, str(len(of_board["pi5"])), *shown])


def _share(rows: Sequence[OperatorParity]) -> float:
    return float(np.mean([row.differing for row in rows]))


def _result(run: BoardRun, key: tuple[str, str]) -> Result:
    return next(result for result in run.record.results if (result.runtime, result.precision) == key)


def _expected(result: Result) -> str:
    return _db(result.drift.reference.sqnr_db) if result.drift and result.drift.reference else "none"


def _alike(one: str, other: str, key: tuple[str, str]) -> bool:
    """Whether two processors are given the same graph."""
    return _scheme(one, key) == _scheme(other, key)


def _scheme(board: str, key: tuple[str, str]) -> str:
    profile = load_profile(find_board("pi5" if board == _LOCAL else board).profile)
    return next(target.quantisation for target in profile.targets if (target.runtime, target.precision) == key)


def _apart(one: BoardRun, other: BoardRun, key: tuple[str, str]) -> str:
    """SQNR in dB of one's outputs against the other's."""
    signal = error = 0.0
    for port, array in one.outputs.get(key, {}).items():
        reference = other.outputs[key][port].astype(np.float64)
        signal += float(np.square(reference).sum())
        error += float(np.square(array - reference).sum())
    if not signal:
        return ""
    return "identical" if error == 0 else _db(10 * np.log10(signal / error))


def _db(value: float | None) -> str:
    return "identical" if value is None else f"{value:.1f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
