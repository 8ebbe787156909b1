from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.byte_operands import store_operands_as_bytes
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.openvino import convert
from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize
from edgeconv.export.reference import run_reference
from edgeconv.graph import save_graph
from edgeconv.runtimes import get_runtime

Build = Callable[..., ir.Model]
_RNG = np.random.default_rng(5)
_CONSTANTS = {
    "w": _RNG.normal(0, 0.5, (16, 2, 3, 3)).astype(np.float32),
    "v": _RNG.normal(0, 0.5, (16, 16, 3, 1)).astype(np.float32),
    "k": _RNG.uniform(0, 1, (1, 16, 16, 16)).astype(np.float32),
    "s": _RNG.uniform(0, 1, (1, 16, 1, 1)).astype(np.float32),
}
_NET = """g (float[1,2,16,16] x, float[16,2,3,3] w, float[16,16,3,1] v, float[1,16,16,16] k, float[1,16,1,1] s)
  => (float[1,16,16,16] y) { c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) m = Mul(r, k) t = Mul(m, s)
  y = Conv<pads=[1,0,1,0]>(t, v) }"""
_SAMPLES = [{"x": _RNG.normal(0, 1, (1, 2, 16, 16)).astype(np.float32)} for _ in range(4)]


def _quantised(model: ir.Model, name: str, float_nodes: tuple[str, ...] = ()) -> ir.Model:
    scheme = QuantisationScheme(name, ranges="minmax", float_nodes=float_nodes)
    tensors = observed_tensors(model, placement=scheme.placement, kept_float=float_nodes)
    return quantize(model, collect_statistics(model, _SAMPLES, tensors=tensors), _SAMPLES, scheme=scheme).model


@pytest.mark.parametrize("name", ["symmetric", "symmetric-outputs"])
def test_a_gate_map_is_rounded_to_a_step_and_a_vector_is_not(build_graph: Build, name: str) -> None:
    model = _quantised(build_graph(_NET, **_CONSTANTS), name)
    other = model.clone()
    assert store_operands_as_bytes(other) == 1
    (gate,) = (node for node in other.graph if node.name == "m/Mul")
    maker = gate.inputs[1].producer()
    assert maker.op_type == "DequantizeLinear"
    expected, found = (run_reference(graph, _SAMPLES[0], ["r", "m"]) for graph in (model, other))
    np.testing.assert_array_equal(expected["r"], found["r"])
    step = maker.inputs[1].const_value.numpy()
    np.testing.assert_array_less(np.abs(expected["m"] - found["m"]), expected["r"] * step * 0.51 + 1e-6)


@pytest.mark.parametrize(("name", "float_nodes"), [("asymmetric", ()), ("symmetric", ("m/Mul",))])
def test_what_is_int8_anyway_or_asked_to_be_in_float_is_left(build_graph: Build, name, float_nodes) -> None:
    model = _quantised(build_graph(_NET, **_CONSTANTS), name, float_nodes)
    assert store_operands_as_bytes(model) == 0


def test_openvino_computes_with_the_same_kernels_from_a_smaller_file(build_graph: Build, tmp_path: Path) -> None:
    model = _quantised(build_graph(_NET, **_CONSTANTS), "symmetric")
    save_graph(model, tmp_path / "source.onnx")
    job = ConversionJob("openvino", "int8", str(tmp_path / "source.onnx"), str(tmp_path), scheme="symmetric")
    file = convert(job)
    size = (tmp_path / file.companions[0]).stat().st_size
    assert size < _CONSTANTS["k"].size + 4 * (_CONSTANTS["w"].size + _CONSTANTS["v"].size)
    session = get_runtime("openvino").load(tmp_path / file.path, 1)
    kernels = session.kernels([])
    assert kernels.quantisers == ()
    expected = run_reference(model, _SAMPLES[0], ["y"])["y"]
    found = session.run([_SAMPLES[0]["x"]])[0]
    assert 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()) > 40
