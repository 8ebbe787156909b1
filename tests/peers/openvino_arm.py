"""Which convolutions OpenVINO should compute on integers on ARM: docs/openvino-arm.md.

It boots two emulated Raspberry Pis, one after the other, whose clocks count instructions, so a busy machine changes
nothing but how long this takes (half an hour). Networks of one convolution, and those of SFConv pairs and
CoordGates, are exported in both symmetric schemes; in the one in which convolutions write integers all of the single
ones do, whatever `pays_in_integers` says of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import arm
import arm_nets
import numpy as np
import torch
from subjects import find_subject
from torch import nn
from trained import train_missing

from edgeconv.benchmarks.run import run_benchmark
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import load_bundle
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.profile import Target, format_profile, load_profile
from edgeconv.export import conversion
from edgeconv.export.onnx import to_onnx
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.files import atomic_write_bytes
from edgeconv.graph import save_graph

_ROOT = Path(__file__).resolve().parents[2]
_BOARDS = {"pi5-deterministic": "Cortex-A76", "pi4-deterministic": "Cortex-A72"}
_SCHEMES = ("symmetric", "symmetric-outputs")
_NETWORKS = ("vessels", "deblur", "unet-1m")
_CONVERT = "--convert"
_PAGE = """\
# OpenVINO on ARM

Made by `make openvino-arm` on {date}: millions of instructions of one inference of 64x64, one thread, with the aarch64
wheel of OpenVINO on emulated processors. *Float* is the graph in which what operators with weights read is rounded
(`symmetric`), and convolutions write float; *integers* the one in which what they write is rounded as well
(`symmetric-outputs`). SQNR is that of the Q/DQ graph against PyTorch; those of single convolutions are of random
weights and noise. A single convolution stands, with its ReLU, between one of 1x1 that reads the image, in float, and
one that writes it: their time is counted too. *int8 MACs* is the part of the multiply-accumulates that OpenVINO
computes on integers, as it says on that processor.

{tables}

`pays_in_integers` (`edgeconv/export/quantize/placement.py`) decides by the upper table; the single convolutions are
rounded here whatever it says, the networks as it says.
"""


@dataclasses.dataclass(frozen=True)
class _Network:
    """Something to export: the options apart from the device."""

    name: str
    options: ExportOptions
    everywhere: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=_ROOT / "build" / "peers")
    parser.add_argument("--document", type=Path, default=_ROOT / "docs" / "openvino-arm.md")
    options = parser.parse_args()
    output = options.output.resolve()
    train_missing([find_subject(name) for name in _NETWORKS], output, 2, print)
    tables = []
    for board, core in _BOARDS.items():
        with tempfile.TemporaryDirectory(prefix="edgeconv-openvino-") as temporary:
            directory = Path(temporary)
            networks = [*_single_convolutions(directory), *_whole_networks(output, directory)]
            with arm.booted(board, directory):
                rows = [_row(network, board, directory) for network in networks]
        columns = ["float", "integers", "÷", "SQNR dB, float", "integers", "int8 MACs, float", "integers"]
        head = [[core, *columns], ["---"] + ["---:"] * len(columns)]
        tables.append("\n".join("| " + " | ".join(cells) + " |" for cells in [*head, *rows]))
        print(tables[-1])
    page = _PAGE.format(date=datetime.date.today().isoformat(), tables="\n\n".join(tables))
    atomic_write_bytes(options.document, page.encode())
    return 0


def _single_convolutions(directory: Path) -> Iterator[_Network]:
    samples = np.random.default_rng(0).standard_normal((8, 1, 1, arm_nets.SIZE_PX, arm_nets.SIZE_PX), np.float32)
    np.save(directory / "noise.npy", samples)
    torch.manual_seed(0)
    kernels = [(channels, 16, (3, 1)) for channels in (4, 8, 12, 16, 32)] + [
        (size, size, (1, 1)) for size in (16, 32, 64)
    ]
    for inputs, outputs, kernel in [*kernels, (16, 16, (3, 3)), (64, 64, (3, 3))]:
        net = nn.Sequential(
            nn.Conv2d(1, inputs, 1),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, padding=(kernel[0] // 2, kernel[1] // 2)),
            nn.ReLU(),
            nn.Conv2d(outputs, 1, 1),
        )
        name = f"{kernel[0]}x{kernel[1]}, {inputs} to {outputs} channels"
        path = directory / f"{kernel[0]}x{kernel[1]}-{inputs}-{outputs}.onnx"
        save_graph(to_onnx(net.eval(), {"input": torch.zeros(1, 1, arm_nets.SIZE_PX, arm_nets.SIZE_PX)}), path)
        yield _Network(name, ExportOptions(str(path), calibration=str(directory / "noise.npy")), everywhere=True)


def _whole_networks(output: Path, directory: Path) -> Iterator[_Network]:
    for name in _NETWORKS:
        yield _Network(name, arm.options_of(find_subject(name), output, directory), everywhere=False)


def _row(network: _Network, board: str, directory: Path) -> list[str]:
    times, qualities, shares = [], [], []
    for scheme in _SCHEMES:
        profile = directory / f"{scheme}.toml"
        profile.write_text(_profile(find_board(board).profile, scheme))
        options = dataclasses.replace(
            network.options,
            devices=(str(profile),),
            runtimes=("openvino",),
            output=directory / scheme / re.sub(r"\W+", "-", network.name),
            golden_count=2,
            with_wheels=True,
        )
        with _everywhere() if network.everywhere else contextlib.nullcontext():
            (built,) = build_bundle(options).bundles
        record = run_benchmark(load_bundle(Path(built.path)), f"emulated:{board}", settings=RunSettings.counted(3))
        (result,) = record.results
        times.append(float(np.median(result.latency_ns.samples)) / 1e6)
        drift = result.drift.reference if result.drift is not None else None
        qualities.append("" if drift is None or drift.sqnr_db is None else f"{drift.sqnr_db:.1f}")
        ran = result.execution
        shares.append("" if ran is None or ran.int8_mac_share is None else f"{100 * ran.int8_mac_share:.1f} %")
    print(network.name, times, qualities, shares, flush=True)
    return [network.name, *(f"{ms:.2f}" for ms in times), f"{times[1] / times[0]:.2f}", *qualities, *shares]


def _profile(device: str, scheme: str) -> str:
    """The board's profile with one target."""
    targets = [Target("openvino", "int8", scheme)]
    return format_profile(dataclasses.replace(load_profile(device), name=scheme, targets=targets))


@contextlib.contextmanager
def _everywhere() -> Iterator[None]:
    """While this lasts, every convolution is said to pay, in the processes that convert as well."""
    with (
        mock.patch("edgeconv.export.conversion.child_command", _child_command),
        mock.patch("edgeconv.export.quantize.placement.pays_in_integers", _is_convolution),
        mock.patch("edgeconv.export.relus_behind_quantisers.pays_in_integers", _is_convolution),
    ):
        yield


def _is_convolution(node: object) -> bool:
    return getattr(node, "op_type", "") == "Conv"


def _child_command(_: str, *arguments: str) -> Sequence[str]:
    return [sys.executable, __file__, _CONVERT, *arguments]


if __name__ == "__main__":
    if sys.argv[1:2] == [_CONVERT]:
        with _everywhere():
            sys.exit(conversion.main(sys.argv[2:]))
    sys.exit(main())
