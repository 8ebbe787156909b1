from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.runtimes import get_runtime, runtime_names
from edgeconv.runtimes.litert import LiteRt
from edgeconv.runtimes.openvino import import_openvino

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
