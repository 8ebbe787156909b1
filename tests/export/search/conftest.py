"""A small network with two factor pairs at full resolution and one below, and images for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.data import Sample, input_ports
from edgeconv.export.golden import normalised
from edgeconv.export.prepare import PreparedGraph, prepare_graph
from edgeconv.export.search.trials import Trials
from edgeconv.manifest import Port

SHAPE = (1, 1, 24, 32)
NETWORK = """g (float[1,1,24,32] x, float[8,1,3,3] ws, float[8] bs, float[4,8,1,3] w1, float[8,4,3,1] w2, float[8] b2,
                float[4,8,1,3] w3, float[8,4,3,1] w4, float[8,8,3,3] wd, float[4,8,1,3] w5, float[8,4,3,1] w6,
                float[1,8,1,1] wh)
=> (float[1,1,24,32] y) {
    s = Conv<pads = [1,1,1,1]>(x, ws, bs)
    sr = Relu(s)
    p = Conv<pads = [0,1,0,1]>(sr, w1)
    q = Conv<pads = [1,0,1,0]>(p, w2, b2)
    qr = Relu(q)
    t = Conv<pads = [0,1,0,1]>(qr, w3)
    u = Conv<pads = [1,0,1,0]>(t, w4)
    ur = Relu(u)
    d = Conv<pads = [1,1,1,1], strides = [2,2]>(ur, wd)
    dr = Relu(d)
    e = Conv<pads = [0,1,0,1]>(dr, w5)
    f = Conv<pads = [1,0,1,0]>(e, w6)
    up = Resize<mode = "nearest">(f, , scales)
    c = Add(up, ur)
    y = Conv(c, wh)
}"""


def images(count: int) -> list[Sample]:
    """Smooth 8-bit images with a bright spot."""
    generator = np.random.default_rng(5)
    made = []
    for _ in range(count):
        row, column = generator.uniform(0, 6, 2)
        wave = np.outer(np.sin(np.linspace(0, row, SHAPE[2])), np.cos(np.linspace(0, column, SHAPE[3])))
        noise = generator.normal(0, 0.05, SHAPE[2:])
        image = np.clip(90 + 60 * (wave + noise), 0, 255)
        image[generator.integers(SHAPE[2]), generator.integers(SHAPE[3])] = 255
        made.append({"x": image[None, None].astype(np.uint8)})
    return made


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    return images(12)


@pytest.fixture(scope="session")
def ports(samples: list[Sample]) -> list[Port]:
    return input_ports(samples, {"x": SHAPE}, None, None)


@pytest.fixture(scope="session")
def traced(build_graph: Callable[..., ir.Model]) -> Callable[[], ir.Model]:
    def make() -> ir.Model:
        generator = np.random.default_rng(0)
        shapes = {
            "ws": (8, 1, 3, 3),
            "bs": (8,),
            "w1": (4, 8, 1, 3),
            "w2": (8, 4, 3, 1),
            "b2": (8,),
            "w3": (4, 8, 1, 3),
            "w4": (8, 4, 3, 1),
            "wd": (8, 8, 3, 3),
            "w5": (4, 8, 1, 3),
            "w6": (8, 4, 3, 1),
            "wh": (1, 8, 1, 1),
        }
        arrays = {name: generator.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
        text = NETWORK.replace("float[1,8,1,1] wh)", "float[1,8,1,1] wh, float[4] scales)")
        return build_graph(text, **arrays, scales=np.array([1, 1, 2, 2], np.float32))

    return make


@pytest.fixture(scope="session")
def prepared(traced: Callable[[], ir.Model], samples: list[Sample], ports: list[Port]) -> PreparedGraph:
    return prepare_graph(traced(), [normalised(samples[0], ports)], lambda name: contextlib.nullcontext())


@pytest.fixture
def trials(prepared: PreparedGraph, samples: list[Sample], ports: list[Port]) -> Trials:
    return Trials(prepared, ports, samples)
