from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.runtimes import get_runtime, runtime_names
from edgeconv.runtimes.litert import LiteRt, _replaced
from edgeconv.runtimes.onnxruntime import import_onnxruntime, kernels_of
from edgeconv.runtimes.openvino import import_openvino

ort = import_onnxruntime()

FILES = {"onnxruntime": "model.fp32.onnx", "litert": "model.fp32.tflite", "openvino": "model.fp32.xml"}


@pytest.mark.parametrize("name", FILES)
def test_run_agrees_with_onnx_when_the_artefact_is_fp32(name, tiny, raw_images):
    image = raw_images[0].astype(np.float32) / 255
    expected = tiny.run_onnx("model.fp32.onnx", [image])[0]
    session = get_runtime(name).load(tiny.directory / FILES[name], 1)
    assert session.input_names == ["x"]
    assert session.output_names == ["y"]
    nhwc = name == "litert"
    found = session.run([np.ascontiguousarray(image.transpose(0, 2, 3, 1)) if nhwc else image])[0]
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2) if nhwc else found, expected, atol=2e-6)


@pytest.mark.parametrize("name", FILES)
def test_run_returns_arrays_that_later_runs_leave_alone(name, tiny):
    session = get_runtime(name).load(tiny.directory / FILES[name], 1)
    shape = (1, 24, 32, 3) if name == "litert" else (1, 3, 24, 32)
    inputs = [np.full(shape, value, np.float32) for value in (0.0, 1.0)]
    kept = [array.copy() for array in inputs]
    first = session.run(inputs[:1])[0]
    copy = first.copy()
    second = session.run(inputs[1:])[0]
    np.testing.assert_array_equal(first, copy)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(inputs, kept)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("threads", [1, 2])
def test_evidence_names_what_ran(name, threads, tiny):
    evidence = get_runtime(name).load(tiny.directory / FILES[name], threads).evidence()
    expected = {"onnxruntime": "CPUExecutionProvider", "litert": "XNNPACK", "openvino": "CPU"}
    assert evidence["provider"] == expected[name]
    assert evidence["threads"] == str(threads)


def loaded(name, tiny, file=None, threads=1, **options):
    """A session, and zeros that it takes."""
    path = tiny.directory / (file or FILES[name])
    shape = (1, 24, 32, 3) if name == "litert" else (1, 3, 24, 32)
    dtype = np.int8 if name == "litert" and "int8" in path.name else np.float32
    return get_runtime(name).load(path, threads, options), [np.zeros(shape, dtype)]


@pytest.mark.parametrize("name", FILES)
def test_the_first_value_of_each_option_is_the_default(name, tiny):
    options = get_runtime(name).options()
    assert options
    default, inputs = loaded(name, tiny)
    chosen, _ = loaded(name, tiny, **{option: values[0] for option, values in options.items()})
    np.testing.assert_array_equal(default.run(inputs)[0], chosen.run(inputs)[0])
    assert default.evidence() == chosen.evidence()


def every_option():
    return [(n, o, v) for n in FILES for o, values in get_runtime(n).options().items() for v in values[1:]]


@pytest.mark.parametrize(("name", "option", "value"), every_option())
def test_every_value_that_is_offered_here_runs_and_is_close(name, option, value, tiny):
    session, inputs = loaded(name, tiny, **{option: value})
    default, _ = loaded(name, tiny)
    np.testing.assert_allclose(session.run(inputs)[0], default.run(inputs)[0], atol=0.02)
    assert session.execution(inputs).share > 0


@pytest.mark.parametrize("name", FILES)
def test_an_option_that_is_not_there_is_refused(name, tiny):
    with pytest.raises(UsageError, match=f"{name} has no option called 'colour'"):
        loaded(name, tiny, colour="blue")
    option = next(iter(get_runtime(name).options()))
    with pytest.raises(UsageError, match=f"{option}=blue here"):
        loaded(name, tiny, **{option: "blue"})


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA")
def test_a_provider_that_is_not_there_is_refused_and_not_replaced(tiny):
    with pytest.raises(UsageError, match="Possible here: cpu"):
        loaded("onnxruntime", tiny, provider="cuda")


def test_onnxruntime_counts_kernels_by_the_provider_that_ran_them(tiny):
    session, inputs = loaded("onnxruntime", tiny, threads=2)
    execution = session.execution(inputs)
    assert execution.requested == execution.used == "CPUExecutionProvider"
    assert execution.operators["CPUExecutionProvider"] >= 2  # two convolutions, whatever is fused into them
    assert execution.share == 1.0
    assert execution.threads == 2


def test_onnxruntime_leaves_no_trace_behind(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    session, inputs = loaded("onnxruntime", tiny)
    session.execution(inputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_litert_counts_the_operators_that_its_delegate_replaced(precision, tiny):
    session, inputs = loaded("litert", tiny, f"model.{precision}.tflite")
    execution = session.execution(inputs)
    assert (execution.requested, execution.used) == ("XNNPACK", "XNNPACK")
    assert execution.operators == {"XNNPACK": 2}
    assert execution.share == 1.0


def test_litert_without_its_delegate_runs_built_in_kernels(tiny):
    session, inputs = loaded("litert", tiny, xnnpack="off")
    execution = session.execution(inputs)
    assert execution.requested == execution.used == "built-in kernels"
    assert execution.operators == {"built-in kernels": 2}
    assert session.evidence()["provider"] == "built-in kernels"


def test_litert_operators_outside_a_delegate_are_told_apart():
    def node(index, name, inputs, outputs):
        return {"index": index, "op_name": name, "inputs": np.array(inputs), "outputs": np.array(outputs)}

    # 0 -> A -> 1 -> B -> 2 -> C -> 3 -> D -> 4, where one delegate took A and B, another one D.
    chain = [node(i, "CONV_2D", [i, 10 + i, -1], [i + 1]) for i in range(4)]
    delegates = [node(4, "DELEGATE", [0, 10, 11], [2]), node(5, "DELEGATE", [3, 13], [4])]
    assert _replaced(chain, delegates) == {0, 1, 3}
    assert _replaced(chain, []) == set()


@pytest.mark.parametrize(("precision", "kernel"), [("fp32", "f32"), ("fp16", "f32"), ("int8", "i8")])
def test_openvino_counts_nodes_by_the_precision_of_their_kernel(precision, kernel, tiny):
    session, inputs = loaded("openvino", tiny, f"model.{precision}.xml")
    execution = session.execution(inputs)
    assert execution.requested == execution.used == "CPU f32"
    assert (execution.precision, execution.share, execution.threads) == ("f32", 1.0, 1)
    assert execution.operators[kernel] >= 2


@pytest.mark.parametrize("precision", get_runtime("openvino").options()["precision"][1:])
def test_openvino_computes_in_another_precision_only_when_it_is_asked_to(precision, tiny):
    session, inputs = loaded("openvino", tiny, precision=precision)
    execution = session.execution(inputs)
    assert (execution.requested, execution.used, execution.precision) == (
        f"CPU {precision}",
        f"CPU {precision}",
        precision,
    )
    assert execution.operators[precision] >= 2


def test_openvino_computes_in_f32_and_reads_it_back(tiny):
    evidence = get_runtime("openvino").load(tiny.directory / "model.fp16.xml", 1).evidence()
    assert evidence["precision hint"] == "f32"
    assert evidence["performance hint"] == "LATENCY"
    assert _convolution_precisions(evidence) == {"f32"}


def _convolution_precisions(evidence):
    kinds = [kind.split(" ")[1:] for kind in evidence["nodes"].split(", ")]
    return {kernel.rsplit("_", 1)[1] for layer, kernel in kinds if layer == "Convolution"}


def test_openvino_int8_convolutions_run_in_int8(tiny):
    evidence = get_runtime("openvino").load(tiny.directory / "model.int8.xml", 1).evidence()
    assert _convolution_precisions(evidence) == {"I8"}


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_kernels_are_told_by_the_names_of_the_graph_s_operators(name, tiny):
    nodes = onnx.load(tiny.directory / FILES["onnxruntime"]).graph.node
    convolutions = {node.name for node in nodes if node.op_type == "Conv"}
    session, inputs = loaded(name, tiny, FILES[name].replace("fp32", "int8"))
    assert session.kernels(inputs).integer >= convolutions
    session, inputs = loaded(name, tiny)
    kernels = session.kernels(inputs)
    assert (kernels.integer, kernels.quantisers) == (frozenset(), ())
    assert kernels.floating


def test_without_optimisation_onnxruntime_computes_nothing_on_integers(tiny):
    session, inputs = loaded("onnxruntime", tiny, "model.int8.onnx", optimisation="none")
    assert session.kernels(inputs).integer == frozenset()


def test_litert_does_not_know_the_operators_names(tiny):
    session, inputs = loaded("litert", tiny, "model.int8.tflite")
    assert session.kernels(inputs) is None


@pytest.mark.parametrize("name", FILES)
def test_load_names_the_file_when_it_is_no_model(name, tmp_path):
    path = tmp_path / FILES[name]
    path.write_bytes(b"this is no model")
    with pytest.raises(RuntimeUnavailableError, match=rf"{name} does not load {path.name}"):
        get_runtime(name).load(path, 1)


@pytest.mark.parametrize("name", FILES)
def test_failures_covers_what_run_raises_when_the_shape_is_wrong(name, tiny):
    runtime = get_runtime(name)
    session = runtime.load(tiny.directory / FILES[name], 1)
    with pytest.raises(runtime.failures()):
        session.run([np.zeros((1, 2), np.float32)])


@pytest.mark.parametrize("name", FILES)
def test_version_is_that_of_the_installed_package(name):
    assert get_runtime(name).version()[0].isdigit()


def test_version_says_how_to_install_when_the_runtime_is_missing():
    class Missing(LiteRt):
        _module = "edgeconv_has_no_such_module.interpreter"

    with pytest.raises(RuntimeUnavailableError, match="pip install ai-edge-litert"):
        Missing().version()


def test_tflite_runtime_is_a_runtime_of_its_own():
    assert get_runtime("tflite_runtime").name == "tflite_runtime"
    assert set(FILES) | {"tflite_runtime"} == set(runtime_names())


@pytest.mark.parametrize(
    ("wrong", "near"), [("onnx", "onnxruntime"), ("LiteRT", "litert"), ("tflite", "tflite_runtime")]
)
def test_get_runtime_suggests_near_names(wrong, near):
    with pytest.raises(UsageError, match=near):
        get_runtime(wrong)


def test_openvino_is_imported_without_its_telemetry():
    import_openvino()
    assert sys.modules["openvino.tools.ovc.telemetry_utils"].tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert sys.modules.get("openvino_telemetry", "absent") is not None  # not left hidden from others


def test_importing_the_registry_imports_no_runtime():
    code = (
        "import sys, edgeconv.runtimes; "
        "print([m for m in ('numpy', 'onnxruntime', 'openvino', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


def test_a_profile_that_names_kernels_by_their_kind_tells_of_no_operator():
    """As ONNX Runtime 1.18 and 1.19 write it."""
    event = {"cat": "Node", "name": "QLinearConv_token_10_kernel_time", "args": {"op_name": "QLinearConv"}}
    event["args"]["input_type_shape"] = [{"uint8": [1, 3, 8, 8]}]
    assert kernels_of([event]) is None
    named = {**event, "name": "conv/Conv_token_3_kernel_time"}
    assert kernels_of([named]).integer == {"conv/Conv"}
    joined = {**event, "name": "SkipLayerNormalization_token_17_kernel_time"}
    joined["args"] = {"op_name": "SkipLayerNormalization", "input_type_shape": [{"float": [4, 16]}]}
    assert kernels_of([named, joined]).floating == ("SkipLayerNormalization",)
