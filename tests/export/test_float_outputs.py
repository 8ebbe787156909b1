"""Outputs in float: the same values but for the last rounding, integer kernels still, and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.benchmarks.agent.feeds import make_inputs
from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.conversion import run_job
from edgeconv.export.float_outputs import free_outputs, quantise_outputs
from edgeconv.export.golden import quantised_references
from edgeconv.export.jobs import ASYMMETRIC, ROUNDED_OUTPUTS, ConversionJob, qdq_reference, scheme_of
from edgeconv.export.onnxruntime import read_graph
from edgeconv.export.quantize import QuantisationScheme, quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.twins import to_uint8
from edgeconv.graph import save_graph, to_bytes
from edgeconv.manifest import Port
from edgeconv.runtimes import get_runtime

Build = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Sample = dict[str, np.ndarray]

# What the networks have in front of their output, and how many Q/DQ pairs can go.
TAILS = {
    "convolution": ("float[1,4,8,8]", "y = Conv<pads = [1,1,1,1]>(b, w2)", 1),
    "residual": ("float[1,4,8,8]", "c = Conv<pads = [1,1,1,1]>(b, w2) y = Add(x, c)", 1),
    "clipped": ("float[1,4,8,8]", "c = Conv<pads = [1,1,1,1]>(b, w2) d = Add(x, c) y = Clip(d, low, high)", 2),
    "upsampling": ("float[1,1,16,16]", "c = Conv<pads = [1,1,1,1]>(b, w2) y = DepthToSpace<blocksize = 2>(c)", 2),
    "pooling": ("float[1,4,1,1]", "c = Conv<pads = [1,1,1,1]>(b, w2) y = GlobalAveragePool(c)", 1),
}


def _quantised(build_graph: Build, output: str, tail: str, scheme: str = ASYMMETRIC) -> tuple[ir.Model, Sample]:
    rng = np.random.default_rng(4)
    weights = {name: rng.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32) for name in ("w1", "w2")}
    bounds = {"low": np.float32(-0.5), "high": np.float32(0.7)} if "Clip" in tail else {}
    more = "".join(f", float {name}" for name in bounds)
    model = build_graph(
        f"""g (float[1,4,8,8] x, float[4,4,3,3] w1, float[4,4,3,3] w2{more}) => ({output} y) {{
        a = Conv<pads = [1,1,1,1]>(x, w1) b = Relu(a) {tail} }}""",
        **weights,
        **bounds,
    )
    return _calibrated(model, scheme, rng)


def _calibrated(model: ir.Model, scheme: str, rng: np.random.Generator) -> tuple[ir.Model, Sample]:
    shape = tuple(model.graph.inputs[0].shape.numpy())  # type: ignore[union-attr]
    samples = [{"x": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(2)]
    quantised = quantize(model, collect_statistics(model, samples), samples, scheme=QuantisationScheme(scheme))
    return quantised.model, samples[0]


@pytest.fixture
def classifier(build_graph: Build) -> tuple[ir.Model, Sample]:
    rng = np.random.default_rng(5)
    model = build_graph(
        "g (float[1,16] x, float[8,16] w1, float[4,8] w2) => (float[1,4] y) "
        "{ a = Gemm<transB = 1>(x, w1) b = Relu(a) y = Gemm<transB = 1>(b, w2) }",
        w1=rng.normal(0, 0.3, (8, 16)).astype(np.float32),
        w2=rng.normal(0, 0.3, (4, 8)).astype(np.float32),
    )
    return _calibrated(model, ASYMMETRIC, rng)


def _pairs(model: ir.Model) -> int:
    return sum(node.op_type == "QuantizeLinear" for node in model.graph)


@pytest.mark.parametrize("tail", TAILS)
def test_what_is_before_the_last_quantisers_is_what_comes_out(build_graph: Build, tail: str) -> None:
    output, text, count = TAILS[tail]
    model, sample = _quantised(build_graph, output, text)
    freed = model.clone()
    assert free_outputs(freed)
    assert _pairs(model) - _pairs(freed) == count
    onnx.checker.check_model(onnx.load_from_string(to_bytes(freed)), full_check=True)
    assert [value.name for value in freed.graph.outputs] == ["y"]
    assert not any(value for value in freed.graph.initializers.values() if not value.uses())
    last = model.graph.outputs[0].producer()
    assert last is not None
    if count == 1:  # nothing before it changed
        before = last.inputs[0].producer().inputs[0].name  # type: ignore[union-attr]
        np.testing.assert_array_equal(run_reference(freed, sample)["y"], run_reference(model, sample, [before])[before])


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("twin", [ir.Model.clone, to_uint8])
def test_the_inverse_gives_the_graph_back(
    build_graph: Build, tail: str, twin: Callable[[ir.Model], ir.Model], tmp_path: Path
) -> None:
    model, sample = _quantised(build_graph, *TAILS[tail][:2])
    freed = twin(model)
    assert free_outputs(freed)
    save_graph(freed, tmp_path / "freed.onnx")
    back = quantise_outputs(ir.load(tmp_path / "freed.onnx"))
    onnx.checker.check_model(onnx.load_from_string(to_bytes(back)), full_check=True)
    wanted = twin(model)
    assert {node.name for node in back.graph} == {node.name for node in wanted.graph}
    stored = [node.outputs[0].name for node in wanted.graph if node.op_type == "QuantizeLinear"]
    values, found = (run_reference(graph, sample, stored) for graph in (wanted, back))
    for name in ["y", *stored]:
        np.testing.assert_array_equal(found[name], values[name])


@pytest.mark.parametrize("tail", TAILS)
def test_openvino_s_file_computes_its_own_reference(build_graph: Build, tail: str, tmp_path: Path) -> None:
    model, sample = _quantised(build_graph, *TAILS[tail][:2])
    save_graph(model, tmp_path / "source.onnx")
    artifact = run_job(
        ConversionJob("openvino", "int8", str(tmp_path / "source.onnx"), str(tmp_path), float_outputs=True)
    )
    assert artifact.reference == "qdq+float"
    (found,) = get_runtime("openvino").load(tmp_path / artifact.path, 1).run([sample["x"]])
    references = quantised_references({ASYMMETRIC: model})
    wanted, rounded = (references[name](sample)["y"] for name in ("qdq+float", "qdq"))
    # an inner step may go the other way here and there
    assert np.abs(found - wanted).mean() < 0.05 * np.abs(rounded - wanted).mean()


def test_tensorrt_s_scheme_has_no_quantisers_there_anyway(build_graph: Build) -> None:
    for output, tail, _ in TAILS.values():
        assert not free_outputs(_quantised(build_graph, output, tail, "symmetric")[0])


def test_a_classifier_in_onnx_runtime_stays_a_product_of_integers(
    classifier: tuple[ir.Model, Sample], optimised: Count, tmp_path: Path
) -> None:
    model, sample = classifier
    save_graph(model, tmp_path / "source.onnx")
    job = ConversionJob(
        "onnxruntime", "int8", str(tmp_path / "source.onnx"), str(tmp_path), "uint8", float_outputs=True
    )
    artifact = run_job(job)
    assert artifact.reference == "qdq+float"
    kinds = optimised(ir.load(tmp_path / artifact.path))
    assert (kinds["QGemm"], kinds["Gemm"], kinds["DequantizeLinear"]) == (2, 0, 0)
    (found,) = get_runtime("onnxruntime").load(tmp_path / artifact.path, 1).run([sample["x"]])
    reference = quantised_references({ASYMMETRIC: model})["qdq+float"](sample)["y"]
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-5 * np.abs(reference).max())
    again = run_reference(read_graph(tmp_path / artifact.path), sample)["y"]
    np.testing.assert_array_equal(again, run_reference(model, sample)["y"])


def _classifier(build_graph: Build, classes: int) -> tuple[ir.Model, Sample]:
    """A network whose last product has `classes` times 8 of about 3,000 weights."""
    rng = np.random.default_rng(6)
    model = build_graph(
        f"""g (float[1,16,4,4] x, float[8,16,5,5] w1, float[{classes},8] w2) => (float[1,{classes}] y) {{
        a = Conv<pads = [2,2,2,2]>(x, w1) b = Relu(a) c = GlobalAveragePool(b) d = Flatten(c)
        y = Gemm<transB = 1>(d, w2) }}""",
        w1=rng.normal(0, 0.1, (8, 16, 5, 5)).astype(np.float32),
        w2=rng.normal(0, 0.3, (classes, 8)).astype(np.float32),
    )
    return _calibrated(model, ASYMMETRIC, rng)


@pytest.mark.parametrize("tail", TAILS)
def test_litert_adds_in_float_and_writes_all_else_in_integers(build_graph: Build, tail: str, tmp_path: Path) -> None:
    model, sample = _quantised(build_graph, *TAILS[tail][:2])
    save_graph(model, tmp_path / "source.onnx")
    artifact = run_job(
        ConversionJob("litert", "int8", str(tmp_path / "source.onnx"), str(tmp_path), float_outputs=True)
    )
    freed = tail in ("residual", "clipped")
    assert artifact.reference == qdq_reference(ASYMMETRIC, float_outputs=freed)
    assert artifact.outputs[0].dtype == ("float32" if freed else "int8")
    if freed:
        references = quantised_references({ASYMMETRIC: model})
        wanted, rounded = (references[name](sample)["y"] for name in ("qdq+float", "qdq"))
        ports = [Port("x", list(sample["x"].shape), "float32", "NCHW")]
        inputs = make_inputs({"x": sample["x"]}, ports, artifact.inputs)
        (found,) = get_runtime("litert").load(tmp_path / artifact.path, 1).run(inputs)
        found = found.transpose(0, 3, 1, 2)
        assert np.abs(found - wanted).mean() < 0.05 * np.abs(rounded - wanted).mean()


@pytest.mark.parametrize(("classes", "freed"), [(2, True), (20, False)])
def test_litert_computes_a_small_last_product_in_float(
    build_graph: Build, classes: int, freed: bool, tmp_path: Path
) -> None:
    model, sample = _classifier(build_graph, classes)
    save_graph(model, tmp_path / "source.onnx")
    artifact = run_job(
        ConversionJob("litert", "int8", str(tmp_path / "source.onnx"), str(tmp_path), float_outputs=True)
    )
    assert artifact.reference == qdq_reference(ASYMMETRIC, float_outputs=freed)
    assert artifact.outputs[0].dtype == ("float32" if freed else "int8")
    if freed:
        ports = [Port("x", [1, 16, 4, 4], "float32", "NCHW")]
        (found,) = (
            get_runtime("litert")
            .load(tmp_path / artifact.path, 1)
            .run(make_inputs({"x": sample["x"]}, ports, artifact.inputs))
        )
        reference = quantised_references({ASYMMETRIC: model})["qdq+float"](sample)["y"]
        np.testing.assert_allclose(found, reference, rtol=0, atol=1e-5 * np.abs(reference).max())


def test_onnx_runtime_s_convolutions_keep_their_quantisers(build_graph: Build) -> None:
    model, _ = _quantised(build_graph, *TAILS["residual"][:2])
    before = to_bytes(model)
    assert not free_outputs(model, lambda node: node.op_type in ("Gemm", "MatMul"))
    assert to_bytes(model) == before


def test_a_tensor_that_is_read_inside_as_well_keeps_its_quantiser(build_graph: Build) -> None:
    weight = np.random.default_rng(0).normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32)
    model = build_graph(
        "g (float[1,4,8,8] x, float[4,4,3,3] w) => (float[1,4,8,8] y, float[1,4,8,8] z) "
        "{ y = Conv<pads = [1,1,1,1]>(x, w) z = Conv<pads = [1,1,1,1]>(y, w) }",
        w=weight,
    )
    quantised, sample = _calibrated(model, ASYMMETRIC, np.random.default_rng(1))
    freed = quantised.clone()
    assert free_outputs(freed)
    assert _pairs(quantised) - _pairs(freed) == 1
    wanted, found = run_reference(quantised, sample), run_reference(freed, sample)
    np.testing.assert_array_equal(found["y"], wanted["y"])
    assert np.unique(found["z"]).size > np.unique(wanted["z"]).size


def test_a_float_graph_is_left_as_it_is(build_graph: Build) -> None:
    model = build_graph("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    assert not free_outputs(model)


@pytest.mark.parametrize(
    "mark", ["", "{}", '{"scale": 1}', json.dumps({"dtype": "no", "scale": 1, "zero_point": 0}), "[1]"]
)
def test_a_mark_that_means_nothing_is_refused(classifier: tuple[ir.Model, Sample], mark: str) -> None:
    model, _ = classifier
    assert free_outputs(model)
    writer = model.graph.outputs[0].producer()
    assert writer is not None
    writer.metadata_props["float.output"] = mark
    with pytest.raises(ExportError, match="marked as a float output and is none"):
        quantise_outputs(model)


@pytest.mark.parametrize("scheme", [ASYMMETRIC, "symmetric", ROUNDED_OUTPUTS])
@pytest.mark.parametrize("freed", [False, True])
def test_a_reference_names_its_scheme(scheme: str, freed: bool) -> None:
    assert scheme_of(qdq_reference(scheme, float_outputs=freed)) == scheme
