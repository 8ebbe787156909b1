from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.openvino import convert
from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.relus_behind_quantisers import move_relus
from edgeconv.graph import save_graph
from edgeconv.runtimes.openvino import import_openvino

Build = Callable[..., ir.Model]
_RNG = np.random.default_rng(11)
_CONSTANTS = {
    "w": _RNG.normal(0, 0.5, (16, 2, 3, 3)).astype(np.float32),
    "v": _RNG.normal(0, 0.5, (16, 16, 3, 1)).astype(np.float32),
    "b": _RNG.normal(0, 0.5, 16).astype(np.float32),
    "k": _RNG.uniform(0, 1, (1, 16, 8, 8)).astype(np.float32),
}
_PORTS = (
    "g (float[1,2,8,8] x, float[16,2,3,3] w, float[16,16,3,1] v, float[16] b, float[1,16,8,8] k) => (float[1,16,8,8] y)"
)
_NET = f"""{_PORTS} {{ s = Conv<pads=[1,1,1,1]>(x, w) c = Conv<pads=[1,0,1,0]>(s, v, b) r = Relu(c)
  d = Conv<pads=[1,0,1,0]>(r, v, b) t = Relu(d) m = Mul(t, k) e = Conv<pads=[1,0,1,0]>(m, v, b) y = Add(e, r) }}"""


def _quantised(model: ir.Model, name: str) -> tuple[ir.Model, list[dict[str, np.ndarray]]]:
    samples = [{"x": _RNG.normal(0, 1, (1, 2, 8, 8)).astype(np.float32)} for _ in range(6)]
    scheme = QuantisationScheme(name, ranges="minmax")
    statistics = collect_statistics(model, samples, tensors=observed_tensors(model, placement=scheme.placement))
    return quantize(model, statistics, samples, scheme=scheme).model, samples


@pytest.mark.parametrize(("name", "moved"), [("symmetric", 1), ("symmetric-outputs", 2)])
def test_the_same_values_and_names_behind_the_quantisers(build_graph: Build, name: str, moved: int) -> None:
    model, samples = _quantised(build_graph(_NET, **_CONSTANTS), name)
    other = model.clone()
    assert move_relus(other) == moved
    tensors = [n.outputs[0].name for n in model.graph if n.op_type == "DequantizeLinear" and n.inputs[0].producer()]
    assert len(tensors) > moved
    for sample in samples:
        expected, found = (run_reference(graph, sample, tensors) for graph in (model, other))
        for tensor in [*tensors, "y"]:
            np.testing.assert_array_equal(expected[tensor], found[tensor])


def test_every_dense_convolution_but_the_first_is_rounded_at_once(build_graph: Build) -> None:
    model, _ = _quantised(build_graph(_NET, **_CONSTANTS), "symmetric-outputs")
    move_relus(model)
    readers = {n.name: {r.op_type for r in n.outputs[0].consumers()} for n in model.graph if n.op_type == "Conv"}
    assert readers == {name: {"QuantizeLinear"} for name in ("s/Conv", "c/Conv", "d/Conv", "e/Conv")}
    before = {n.name: n.inputs[0].producer().op_type for n in model.graph if n.op_type == "Relu"}
    assert before == {"r/Relu": "DequantizeLinear", "t/Relu": "DequantizeLinear"}


def test_a_zero_point_keeps_the_relu_where_it_is(build_graph: Build) -> None:
    model, _ = _quantised(build_graph(_NET, **_CONSTANTS), "asymmetric")
    assert move_relus(model) == 0


def test_a_relu_that_is_no_convolutions_stays(build_graph: Build) -> None:
    ports = _PORTS.replace("=> (float[1,16,8,8] y)", "=> (float[1,16,8,8] y, float[1,16,8,8] c)")
    text = f"""{ports} {{ s = Conv<pads=[1,1,1,1]>(x, w) h = Sigmoid(s) q = Relu(h) c = Conv<pads=[1,0,1,0]>(q, v, b)
      r = Relu(c) y = Conv<pads=[1,0,1,0]>(r, v, b) }}"""
    model, _ = _quantised(build_graph(text, **_CONSTANTS), "symmetric")  # c is read, before its ReLU, as an output
    assert move_relus(model) == 0


@pytest.mark.parametrize("scheme", ["symmetric", "symmetric-outputs"])
def test_openvino_computes_what_the_reference_does(build_graph: Build, tmp_path: Path, scheme: str) -> None:
    model, samples = _quantised(build_graph(_NET, **_CONSTANTS), scheme)
    save_graph(model, tmp_path / "source.onnx")
    made = convert(ConversionJob("openvino", "int8", str(tmp_path / "source.onnx"), str(tmp_path), scheme=scheme))
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(str(tmp_path / made.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for sample in samples:
        expected = run_reference(model, sample)["y"]
        found = compiled([sample["x"]])[0]
        assert 10 * np.log10(np.sum(expected**2) / np.sum((found - expected) ** 2)) > 35
