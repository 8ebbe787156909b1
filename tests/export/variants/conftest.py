"""A small bundle of a network with a gate and a pair of convolutions, exported from an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundles import Bundle, load_bundle

SIZE = 72
NETWORK = f"""g (float[1,1,{SIZE},{SIZE}] x, float[8,1,3,3] w1, float[8] b1, float[3,8,1,3] wh, float[8,3,3,1] wv,
float[8] bv, float[1,8,{SIZE},{SIZE}] gate, float[1,8,1,1] w2) => (float[1,1,{SIZE},{SIZE}] y) {{
    c = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(c)
    h = Conv<pads=[0,1,0,1]>(r, wh) v = Conv<pads=[1,0,1,0]>(h, wv, bv) s = Relu(v)
    p = Mul(s, gate) y = Conv(p, w2)
}}"""


def smooth_gate(channels: int, size: int) -> np.ndarray:
    """Maps as a coordinate encoder makes them: smooth, not separable, zero in places, the largest value 1."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    waves = [np.cos(2 * x + k) * np.sin(2 * y + 0.5 * k) + np.exp(-3 * (x - y) ** 2 - k * y) for k in range(channels)]
    maps = np.maximum(np.stack(waves), 0)
    return (maps / maps.max(axis=(1, 2), keepdims=True)).astype(np.float32)[None]


@pytest.fixture(scope="session")
def network(build_graph):
    rng = np.random.default_rng(5)

    def normal(*shape):
        return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)

    return build_graph(
        NETWORK,
        w1=normal(8, 1, 3, 3),
        b1=normal(8, 1)[:, 0],
        wh=normal(3, 8, 1, 3),
        wv=normal(8, 3, 3, 1),
        bv=normal(8, 1)[:, 0],
        gate=smooth_gate(8, SIZE),
        w2=normal(1, 8, 1, 1),
    )


@pytest.fixture(scope="session")
def samples_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "samples.npy"
    images = np.random.default_rng(6).random((8, 1, 1, SIZE, SIZE)).astype(np.float32)
    np.save(path, images)
    return path


@pytest.fixture(scope="session")
def exported(network, samples_path, tmp_path_factory) -> Bundle:
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.pipeline import build_bundle
    from edgeconv.graph import save_graph

    folder = tmp_path_factory.mktemp("exported")
    save_graph(network, folder / "net.onnx")
    options = ExportOptions(
        model=str(folder / "net.onnx"), calibration=str(samples_path), runtimes=("onnxruntime",), output=folder
    )
    (built,) = build_bundle(options).bundles
    return load_bundle(Path(built.path))
