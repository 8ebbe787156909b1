"""Gates in fewer bytes in real files of the runtimes: small, the same numbers, and folded when they are loaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.constant_expressions import expression_constants, spell_out_quantisers
from edgeconv.export.executor import open_session
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.macs import count_macs
from edgeconv.export.quantize import observed_tensors, quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.search.cost import estimate_latency_ms
from edgeconv.graph import save_graph
from edgeconv.rewrite import CompressGates, run_rewrites
from edgeconv.runtimes import get_runtime

SIZE = 64
NETWORK = f"""g (float[1,3,{SIZE},{SIZE}] x, float[8,3,3,3] w, float[8] b, float[1,8,{SIZE},{SIZE}] gate,
float[2,8,1,1] v) => (float[1,2,{SIZE},{SIZE}] y)
{{ c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) p = Mul(r, gate) y = Conv(p, v) }}"""
FORMS = ("folded", "expression", "reduced")


@pytest.fixture(scope="module")
def feeds():
    return {"x": np.random.default_rng(2).random((1, 3, SIZE, SIZE)).astype(np.float32)}


@pytest.fixture(scope="module")
def graphs(build_graph, feeds):
    """fp32 and Q/DQ graph by form."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    gate = np.stack(
        [np.maximum(np.cos(3 * x + k) * np.sin(2 * y + k) + np.exp(-4 * (x - y) ** 2), 0) for k in range(8)]
    )
    constants = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "b": rng.normal(0, 0.1, 8),
        "gate": gate[None] / gate.max(),
        "v": rng.normal(0, 0.3, (2, 8, 1, 1)),
    }
    made = {}
    for form in FORMS:
        model = build_graph(NETWORK, **{name: array.astype(np.float32) for name, array in constants.items()})
        if form != "folded":
            run_rewrites(model, [CompressGates(form)])
        statistics = collect_statistics(model, [feeds], tensors=observed_tensors(model))
        made[form] = {"fp32": model, "int8": quantize(model, statistics, [feeds]).model}
    return made


@pytest.fixture(scope="module")
def converted(graphs, tmp_path_factory):
    """Path and total bytes of the artefact of a runtime, precision and form."""

    def convert(runtime: str, precision: str, form: str) -> tuple[Path, int]:
        from edgeconv.export.conversion import run_job

        directory = tmp_path_factory.mktemp(f"{runtime}-{precision}-{form}")
        save_graph(graphs[form][precision], directory / "source.onnx")
        activations = "uint8" if runtime == "onnxruntime" else "int8"
        job = ConversionJob(runtime, precision, str(directory / "source.onnx"), str(directory), activations)
        artifact = run_job(job)
        return directory / artifact.path, artifact.total_bytes

    return convert


@pytest.mark.parametrize("form", ["expression", "reduced"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_files_are_small_and_compute_the_graph(converted, graphs, feeds, runtime, precision, form):
    path, size = converted(runtime, precision, form)
    assert size < 0.7 * converted(runtime, precision, "folded")[1]
    found = get_runtime(runtime).load(path, 1).run(list(feeds.values()))[0]
    (wanted,) = run_reference(graphs[form][precision], feeds).values()
    step = 0.02 * np.abs(wanted).max() if precision == "int8" else 1e-4  # a tie may round the other way
    assert np.abs(found - wanted).max() <= step


@pytest.mark.parametrize("form", ["expression", "reduced"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnx_runtime_folds_them_when_it_loads(converted, tmp_path, precision, form):
    """The optimised graph has the operators of the one with folded maps, whose Mul is an integer one in int8."""
    import onnxruntime

    counts = []
    for which in ("folded", form):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{which}.onnx")
        options.log_severity_level = 3
        path, _ = converted("onnxruntime", precision, which)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        counts.append(Counter(node.op_type for node in ir.load(tmp_path / f"{which}.onnx").graph))
    assert counts[0] == counts[1]
    assert precision == "fp32" or counts[1]["QLinearMul"] == 1


@pytest.mark.parametrize("form", ["expression", "reduced"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino_folds_them_when_it_loads(converted, precision, form):
    import openvino

    counts = []
    for which in ("folded", form):
        path, _ = converted("openvino", precision, which)
        compiled = openvino.Core().compile_model(path, "CPU")
        kinds = (node.get_rt_info()["layerType"].astype(str) for node in compiled.get_runtime_model().get_ops())
        counts.append(Counter(kinds))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_litert_enlarges_a_reduced_map_itself(converted, graphs, feeds, precision):
    from edgeconv.export.tflite import to_tflite

    path, size = converted("litert", precision, "reduced")
    assert size < 0.3 * converted("litert", precision, "folded")[1]
    assert _computing(to_tflite(graphs["reduced"][precision])) == {"CONV_2D": 2, "MUL": 1, "RESIZE_BILINEAR": 1}
    session = get_runtime("litert").load(path, 1)
    (wanted,) = run_reference(graphs["reduced"][precision], feeds).values()
    found = _litert(session, path, feeds["x"], precision)
    assert np.abs(found - wanted).max() <= (0.02 * np.abs(wanted).max() if precision == "int8" else 1e-4)


def test_litert_gets_the_map_of_an_expression(converted, graphs):
    from edgeconv.export.tflite import to_tflite

    assert _computing(to_tflite(graphs["expression"]["int8"])) == {"CONV_2D": 2, "MUL": 1}
    assert converted("litert", "int8", "expression")[1] == converted("litert", "int8", "folded")[1]


def _computing(made):
    """Operators but for those that only name axes anew."""
    return {kind: count for kind, count in made.operators.items() if kind != "RESHAPE"}


def _litert(session, path, image, precision):
    from edgeconv.export.tflite import to_tflite

    nhwc = image.transpose(0, 2, 3, 1)
    if precision == "fp32":
        return session.run([nhwc])[0].transpose(0, 3, 1, 2)
    specs = to_tflite(path.parent / "source.onnx")
    given, got = specs.inputs[0], specs.outputs[0]
    integers = np.clip(np.rint(nhwc / np.float32(given.scale)) + given.zero_point, -128, 127).astype(np.int8)
    found = session.run([np.ascontiguousarray(integers)])[0]
    return ((found.astype(np.float32) - got.zero_point) * got.scale).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("form", ["expression", "reduced"])
def test_spelled_out_quantisers_compute_the_same_bits(graphs, feeds, form):
    model = graphs[form]["int8"].clone()
    assert spell_out_quantisers(model) == {"expression": 1, "reduced": 2}[form]
    before, after = (open_session(m, optimise=False).run(None, feeds)[0] for m in (graphs[form]["int8"], model))
    np.testing.assert_array_equal(before, after)


def test_quantisers_of_weights_and_activations_are_left_alone(graphs):
    assert spell_out_quantisers(graphs["folded"]["int8"].clone()) == 0
    assert expression_constants(graphs["folded"]["int8"].graph) == {}


def test_what_is_computed_at_load_costs_no_multiplications(graphs):
    folded, expression = (sum(count_macs(node) for node in graphs[form]["fp32"].graph) for form in FORMS[:2])
    assert folded == expression
    estimates = [estimate_latency_ms(graphs[form]["fp32"]) for form in FORMS]
    assert estimates == [estimates[0]] * 3
    assert estimate_latency_ms(graphs["reduced"]["fp32"], folds=False) > estimates[0]


def test_the_range_of_a_gate_is_never_clipped(graphs):
    """A percentile would cut off the peak of a map; there are no outliers in what does not depend on data."""
    model = graphs["expression"]["int8"]
    quantise = next(n for n in model.graph if n.op_type == "QuantizeLinear" and "gate_map" in str(n.outputs[0].name))
    scale, zero = (value.const_value.numpy() for value in quantise.inputs[1:3])
    assert float(scale) * (127 - int(zero)) >= 1 - 1e-6
