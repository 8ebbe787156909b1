from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.conversion import run_job
from edgeconv.export.executor import open_session
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.tensorrt import check_explicit_quantisation, lower_quantisers
from edgeconv.graph import constant_value, save_graph
from edgeconv.manifest import Artifact

Build = Callable[..., ir.Model]
_RNG = np.random.default_rng(7)
_CONSTANTS = {
    "w": _RNG.normal(0, 0.4, (4, 2, 3, 3)).astype(np.float32),
    "b": _RNG.normal(0, 0.2, 4).astype(np.float32),
    "v": _RNG.normal(0, 0.4, (8, 4, 1, 1)).astype(np.float32),
    "u": _RNG.normal(0, 0.4, (4, 4, 2, 2)).astype(np.float32),
    "k": _RNG.uniform(0, 1, (1, 2, 8, 8)).astype(np.float32),
}
# convolutions, a residual Add, DepthToSpace, Concat, a gate, a transposed convolution with weights on axis 1
_NET = """g (float[1,2,8,8] x, float[4,2,3,3] w, float[4] b, float[8,4,1,1] v, float[4,4,2,2] u, float[1,2,8,8] k)
=> (float[1,4,8,8] y)
{ a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r)
  e = Conv(p, v) d = DepthToSpace<blocksize=2>(e) g0 = Mul(d, k) h = Conv<pads=[1,1,1,1]>(g0, w, b) q = Add(h, r)
  t = Conv(q, v) f = DepthToSpace<blocksize=2>(t) o = MaxPool<kernel_shape=[2,2],strides=[2,2]>(f)
  c = Conv<pads=[1,1,1,1],strides=[2,2]>(o, w) y = ConvTranspose<strides=[2,2]>(c, u) }"""


def _samples(count: int = 4) -> list[dict[str, np.ndarray]]:
    return [{"x": _RNG.normal(0, 1, (1, 2, 8, 8)).astype(np.float32)} for _ in range(count)]


@pytest.fixture(scope="module")
def net(build_graph: Build) -> ir.Model:
    return build_graph(_NET, **_CONSTANTS)


@pytest.fixture(scope="module")
def symmetric(net: ir.Model) -> ir.Model:
    return _quantised(net, "symmetric")


def _quantised(model: ir.Model, scheme: str) -> ir.Model:
    samples = _samples()
    tensors = observed_tensors(model, placement=QuantisationScheme(scheme).placement)
    statistics = collect_statistics(model, samples, tensors=tensors)
    return quantize(model, statistics, samples, scheme=QuantisationScheme(scheme)).model


def _convert(model: ir.Model, precision: str, directory: Path, scheme: str = "symmetric") -> tuple[Artifact, ir.Model]:
    source = directory / "source.onnx"
    save_graph(model, source)
    artifact = run_job(ConversionJob("tensorrt", precision, str(source), str(directory), scheme=scheme))
    return artifact, ir.load(directory / artifact.path)


def test_int8_is_what_every_tensorrt_parser_takes(symmetric: ir.Model, tmp_path: Path) -> None:
    artifact, model = _convert(symmetric, "int8", tmp_path)
    assert artifact.reference == "qdq-symmetric"
    assert artifact.facts["opset"] == "17"
    assert [spec.dtype for spec in artifact.inputs + artifact.outputs] == ["float32", "float32"]
    quantisers = [node for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert quantisers
    for node in quantisers:
        zero_point = constant_value(node.inputs[2])
        assert zero_point is not None
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
        if node.op_type == "DequantizeLinear":
            assert node.inputs[0].producer().op_type == "QuantizeLinear"  # no integer constant, so no int32 either
    biases = [node.inputs[2] for node in model.graph if node.op_type == "Conv" and len(node.inputs) > 2]
    assert biases
    assert all(constant_value(bias).dtype == np.float32 for bias in biases)
    weights = [node.attributes["axis"].as_int() for node in quantisers if constant_value(node.inputs[1]).ndim]
    assert set(weights) == {0, 1}  # 1: the transposed convolution


def test_the_lowered_graph_computes_the_same_floats_bit_for_bit(symmetric: ir.Model, tmp_path: Path) -> None:
    _, model = _convert(symmetric, "int8", tmp_path)
    for sample in _samples(2):
        np.testing.assert_array_equal(run_reference(model, sample)["y"], run_reference(symmetric, sample)["y"])


def test_integer_kernels_stay_within_the_bound_of_their_reference(
    net: ir.Model, symmetric: ir.Model, tmp_path: Path
) -> None:
    _, model = _convert(symmetric, "int8", tmp_path)
    session = open_session(model, optimise=True)

    def sqnr(outputs: Callable[[dict[str, np.ndarray]], np.ndarray]) -> float:
        pairs = [(run_reference(net, sample)["y"], outputs(sample)) for sample in samples]
        signal, noise = sum(np.sum(a**2) for a, _ in pairs), sum(np.sum((a - b) ** 2) for a, b in pairs)
        return float(10 * np.log10(signal / noise))

    samples = _samples(16)
    reference = sqnr(lambda sample: run_reference(symmetric, sample)["y"])
    assert reference > 20  # random weights: only that it is no noise
    assert abs(sqnr(lambda sample: session.run(None, sample)[0]) - reference) < 0.3


def test_zero_points_are_refused_with_the_key_to_set(net: ir.Model, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r'zero points of 0.*quantisation = "symmetric"'):
        _convert(_quantised(net, "asymmetric"), "int8", tmp_path, "asymmetric")


def test_the_check_finds_an_integer_constant(symmetric: ir.Model) -> None:
    with pytest.raises(ExportError, match=r"dequantises a constant|int32"):
        check_explicit_quantisation(symmetric)
    lowered = symmetric.clone()
    lower_quantisers(lowered)
    check_explicit_quantisation(lowered)


def test_fp16_has_float_ports_and_half_inside(net: ir.Model, tmp_path: Path) -> None:
    artifact, model = _convert(net, "fp16", tmp_path)
    assert [spec.dtype for spec in artifact.inputs + artifact.outputs] == ["float32", "float32"]
    kinds = {value.dtype for value in model.graph.initializers.values()}
    assert ir.DataType.FLOAT16 in kinds
    assert ir.DataType.FLOAT not in kinds
    for sample in _samples(2):
        expected, found = run_reference(net, sample)["y"], open_session(model, optimise=False).run(None, sample)[0]
        assert 10 * np.log10(np.sum(expected**2) / np.sum((found - expected) ** 2)) > 50


def test_what_fp16_cannot_hold_is_refused(build_graph: Build, tmp_path: Path) -> None:
    model = build_graph(
        "g (float[1,2] x, float[2] k) => (float[1,2] y) { y = Mul(x, k) }", k=np.array([1, 1e5], np.float32)
    )
    with pytest.raises(ExportError, match=r"'k'.*65504"):
        _convert(model, "fp16", tmp_path)


def test_axes_of_a_reduction_become_an_attribute_as_old_parsers_read_them(build_graph: Build, tmp_path: Path) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, int64[2] axes) => (float[1,2,1,1] y) { y = ReduceMean(x, axes) }",
        axes=np.array([2, 3], np.int64),
    )
    _, lowered = _convert(model, "fp32", tmp_path)
    (node,) = [node for node in lowered.graph if node.op_type == "ReduceMean"]
    assert node.attributes["axes"].as_ints() == (2, 3)
    sample = {"x": _RNG.normal(0, 1, (1, 2, 4, 4)).astype(np.float32)}
    np.testing.assert_array_equal(run_reference(lowered, sample)["y"], run_reference(model, sample)["y"])


def test_the_file_passes_the_onnx_checker(symmetric: ir.Model, tmp_path: Path) -> None:
    artifact, _ = _convert(symmetric, "int8", tmp_path)
    onnx.checker.check_model(onnx.load(tmp_path / artifact.path), full_check=True)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = ReduceMean<keepdims=1, noop_with_empty_axes=0>(x)", "1,1,1,1"),
        ("y = ReduceL2<keepdims=1, noop_with_empty_axes=0>(x, axes)", "1,3,1,1"),
        ("y = Pad(x, pads)", "1,3,6,6"),
        ("y, z = Split<axis=1>(x, sizes)", "1,1,4,4"),
    ],
)
def test_what_the_converter_of_opsets_cannot_do_is_done(
    build_graph: Build, tmp_path: Path, body: str, shape: str
) -> None:
    model = build_graph(
        f"g (float[1,3,4,4] x, int64[2] axes, int64[8] pads, int64[2] sizes) => (float[{shape}] y) {{ {body} }}",
        axes=np.array([2, 3], np.int64),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        sizes=np.array([1, 2], np.int64),
    )
    _, lowered = _convert(model, "fp32", tmp_path)
    assert dict(lowered.graph.opset_imports) == {"": 17}
    sample = {"x": _RNG.normal(0, 1, (1, 3, 4, 4)).astype(np.float32)}
    np.testing.assert_allclose(run_reference(lowered, sample)["y"], run_reference(model, sample)["y"], rtol=1e-6)
