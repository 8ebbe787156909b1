"""A network with one layer that 8-bit weights cannot hold, as an export sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.data import Sample, SampleSource, input_ports
from edgeconv.export.graphs import Graphs, make_graphs
from edgeconv.export.reference import ReferenceRunner
from edgeconv.export.subject import Subject
from edgeconv.manifest import Port

SHAPE = (1, 3, 16, 16)
_NET = """g (float[1,3,16,16] x, float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2, float[8,8,3,3] w3, float[8] b3,
float[8,8,3,3] w4, float[2,8,3,3] w5) => (float[1,2,16,16] y)
{ a = Conv<pads = [1,1,1,1]>(x, w1, b1) ar = Relu(a) b = Conv<pads = [1,1,1,1]>(ar, w2) br = Relu(b)
c = Conv<pads = [1,1,1,1]>(br, w3, b3) cr = Relu(c) d = Conv<pads = [1,1,1,1]>(cr, w4) dr = Relu(d)
y = Conv<pads = [1,1,1,1]>(dr, w5) }"""


@pytest.fixture(scope="session")
def bad() -> str:
    """The operator that 8 bits are too few for."""
    return "c/Conv"


@pytest.fixture(scope="session")
def planted(build_graph: Callable[..., ir.Model]) -> ir.Model:
    """Two channels of `br` are the same, and `c` subtracts one from the other with weights 60 times as large as those
    that remain: an int8 step is then half of what counts. No gauge of single channels makes that better."""
    rng = np.random.default_rng(11)
    w1, w2, w3, w4 = (rng.normal(0, 0.2, (8, n, 3, 3)).astype(np.float32) for n in (3, 8, 8, 8))
    w2[1] = w2[0]
    large = 60 * np.abs(w3).max()
    w3[:, 0] += large
    w3[:, 1] -= large
    return build_graph(
        _NET,
        w1=w1,
        b1=rng.normal(0, 0.1, 8).astype(np.float32),
        w2=w2,
        w3=w3,
        b3=rng.normal(0, 0.1, 8).astype(np.float32),
        w4=w4,
        w5=rng.normal(0, 0.2, (2, 8, 3, 3)).astype(np.float32),
    )


@pytest.fixture(scope="session")
def subject(planted: ir.Model) -> Subject:
    """Four golden cases, with targets that the network meets itself, and four calibration samples."""
    runner = ReferenceRunner(planted)
    rng = np.random.default_rng(12)
    images = [{"x": rng.random(SHAPE, np.float32)} for _ in range(8)]
    golden: list[Sample] = [{**image, "target": (runner.run(image)["y"] > 0).astype(np.uint8)} for image in images[:4]]
    return Subject(
        name="planted",
        source="test",
        weights_sha256=None,
        parameters=0,
        shapes={"x": SHAPE},
        golden=golden,
        calibration=SampleSource("noise", lambda: iter(images[4:])),
        metric="dice",
        trace=planted.clone,
        run=lambda inputs: [runner.run(inputs)["y"]],
    )


@pytest.fixture(scope="session")
def ports(subject: Subject) -> list[Port]:
    return input_ports(subject.golden, subject.shapes, None, None)


@pytest.fixture(scope="session")
def graphs(subject: Subject, ports: list[Port]) -> Graphs:
    return make_graphs(subject.trace(), subject, ports, ["asymmetric"], _quiet)


@pytest.fixture(scope="session")
def quiet() -> Callable[[str], contextlib.AbstractContextManager[None]]:
    return _quiet


@contextlib.contextmanager
def _quiet(_: str) -> Iterator[None]:
    yield
