"""The peak memory of calibrating does not depend on how many images there are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

from edgeconv.graph import save_graph

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")

GROWTH = 1.05
NETWORK = """g (float[1,3,{size},{size}] x, float[8,3,3,3] w1, float[8,8,1,3] w2, float[2,8,3,1] w3)
=> (float[1,2,{half},{half}] y) {{
    a = Conv<pads = [1,1,1,1], strides = [2,2]>(x, w1)
    b = Relu(a)
    c = Conv<pads = [0,1,0,1]>(b, w2)
    y = Conv<pads = [1,0,1,0]>(c, w3)
}}"""
PEAK = """
import pathlib
status = pathlib.Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""
CALIBRATE = """
import contextlib, sys
from edgeconv.export.data import input_ports
from edgeconv.export.graphs import make_graphs
from edgeconv.export.options import ExportOptions
from edgeconv.export.subject import load_subject
model, calibration, count = sys.argv[1:]
options = ExportOptions(model, calibration=calibration, calibration_count=int(count))
subject = load_subject(options)
ports = input_ports(subject.golden, subject.shapes, None, None)
stage = lambda name: contextlib.nullcontext()
graphs = make_graphs(subject.trace(), subject, ports, ["asymmetric"], stage)
assert graphs.int8["asymmetric"].recipe.calibration_samples + len(subject.golden) == int(count)
"""
EXPORT = """
import pathlib, sys
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
model, calibration, count = sys.argv[1:]
output = pathlib.Path(model).parent / f"bundles-{count}"
build_bundle(ExportOptions(model, calibration=calibration, calibration_count=int(count), runtimes=("onnxruntime",),
                           output=output))
"""
IMAGES = """
import numpy as np
def images():
    generator = np.random.default_rng(0)
    while True:
        yield generator.integers(0, 256, (1, 3, 256, 256), np.uint8)
"""


@pytest.fixture
def network(tmp_path: Path, build_graph: Callable[..., ir.Model]) -> Callable[[int], Path]:
    def make(size: int) -> Path:
        generator = np.random.default_rng(0)
        weights = {"w1": (8, 3, 3, 3), "w2": (8, 8, 1, 3), "w3": (2, 8, 3, 1)}
        arrays = {name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in weights.items()}
        save_graph(build_graph(NETWORK.format(size=size, half=size // 2), **arrays), tmp_path / "net.onnx")
        return tmp_path / "net.onnx"

    return make


def _peak_kib(script: str, model: Path, calibration: str, count: int) -> int:
    # One allocation arena, given back when free: else the peak depends on which thread allocates when.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "100000"}
    arguments = [sys.executable, "-c", script + PEAK, str(model), calibration, str(count)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def test_many_images_take_no_more_memory_than_ten(network: Callable[[int], Path], tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(IMAGES)
    model, calibration = network(256), f"{tmp_path}/data.py:images"
    few, many = (_peak_kib(CALIBRATE, model, calibration, count) for count in (10, 150))
    assert many <= GROWTH * few, f"{few} KiB with 10 images, {many} KiB with 150"


def test_an_archive_is_not_loaded(network: Callable[[int], Path], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (150, 3, 256, 256), np.uint8)
    np.savez(tmp_path / "images.npz", x=images)
    model = network(256)
    few, many = (_peak_kib(CALIBRATE, model, str(tmp_path / "images.npz"), count) for count in (10, 150))
    assert many <= GROWTH * few, f"{few} KiB with 10 images, {many} KiB with 150"


@pytest.mark.slow
def test_export_with_a_thousand_large_images(network: Callable[[int], Path], tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(1000):
        if index < 10:
            Image.fromarray(generator.integers(0, 256, (512, 512, 3), np.uint8)).save(folder / f"{index:04}.png")
        else:
            os.link(folder / f"{index % 10:04}.png", folder / f"{index:04}.png")
    few, many = (_peak_kib(EXPORT, network(512), str(folder), count) for count in (10, 1000))
    assert many <= GROWTH * few, f"{few} KiB with 10 images, {many} KiB with 1,000"
