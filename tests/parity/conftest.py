"""A network of three convolutions exported for every runtime, and ways to damage one layer of it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundles import Bundle, load_bundle
from edgeconv.files import sha256_file
from edgeconv.schema import to_json

NET = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    def forward(self, x):
        return torch.relu(self.conv(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Block(3, 8), Block(8, 12)
        self.last = nn.Conv2d(12, 2, 1)
    def forward(self, image):
        return self.last(self.second(self.first(image)))

def factory():
    torch.manual_seed(0)
    return Net()
"""


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("locate") / "net.py"
    path.write_text(NET)
    return path


@pytest.fixture(scope="session")
def exported(net: Path) -> Path:
    """The bundle that a damaged one is copied from."""
    from edgeconv import ExportOptions, build_bundle
    from edgeconv.devices.profile import format_profile, load_profile

    board = load_profile("raspberry-pi-5")  # with one scheme for all runtimes: locating knows the asymmetric graph
    targets = [dataclasses.replace(target, quantisation="asymmetric") for target in board.targets]
    profile = net.with_name("board.toml")
    profile.write_text(format_profile(dataclasses.replace(board, name="board", targets=targets)))
    rng = np.random.default_rng(0)
    np.savez(net.with_name("data.npz"), image=rng.random((12, 1, 3, 16, 24), np.float32))
    options = ExportOptions(
        model=f"{net}:factory",
        input_shapes=("1x3x16x24",),
        devices=(str(profile),),
        calibration=str(net.with_name("data.npz")),
        golden_count=3,
        output=net.parent,
    )
    return Path(build_bundle(options).bundles[0].path)


@pytest.fixture
def bundle_directory(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / exported.name))


@pytest.fixture(scope="session")
def reseal():
    """Make the manifest of a damaged bundle agree with its files again, as a broken export would have written it."""

    def sealed(directory: Path) -> Bundle:
        from edgeconv.manifest import read_manifest

        def renewed(entry):
            path = directory / entry.path
            fresh = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            if hasattr(entry, "companions"):
                fresh["companions"] = [renewed(companion) for companion in entry.companions]
            return dataclasses.replace(entry, **fresh)

        manifest = read_manifest(directory)
        manifest = dataclasses.replace(
            manifest,
            artifacts=[renewed(a) for a in manifest.artifacts],
            files=[renewed(file) for file in manifest.files],
        )
        (directory / "manifest.json").write_text(to_json(manifest))
        return load_bundle(directory)

    return sealed
