"""One layer of a real artefact is damaged in its file, and exactly that layer has to be named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeconv.bundles import load_bundle
from edgeconv.export.onnxruntime import read_graph
from edgeconv.graph import constant_value
from edgeconv.parity.locate import locate_break
from edgeconv.parity.locate.search import locate_in_artifact
from edgeconv.parity.location import NOT_FINITE_DB

SECOND = "second.conv"


def damage_onnx(path: Path, module: str, change) -> None:
    """Put the weights of the convolution of `module` through `change`."""
    model = onnx.load(path)
    node = next(n for n in model.graph.node if n.op_type == "Conv" and n.name.startswith(module))
    makers = {output: n for n in model.graph.node for output in n.output}
    name = node.input[1]
    name = makers[name].input[0] if name in makers else name  # behind a DequantizeLinear
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    onnx.save(model, path)


def damage_tflite(path: Path, index: int, change) -> None:
    """Put the weights of the convolution number `index` (OHWI) through `change`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    weights = [o.inputs[1] for o in graph.operators if len(o.inputs) == 3][index]
    tensor = graph.tensors[weights]
    dtype = np.int8 if tensor.type == schema.TensorType.INT8 else np.float32
    array = np.frombuffer(np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes(), dtype)
    changed = np.ascontiguousarray(change(array.reshape(tensor.shape).copy()), dtype)
    model.buffers[tensor.buffer].data = np.frombuffer(changed.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def damage_openvino(path: Path, exact: np.ndarray, change) -> None:
    """Put the weights that equal `exact` through `change`, in the .bin beside the .xml."""
    data = path.with_suffix(".bin").read_bytes()
    at = data.find(exact.tobytes())
    assert at >= 0
    assert data.find(exact.tobytes(), at + 1) < 0
    changed = np.ascontiguousarray(change(exact.copy()), exact.dtype).tobytes()
    path.with_suffix(".bin").write_bytes(data[:at] + changed + data[at + len(changed) :])


def weights_of(path: Path, module: str) -> np.ndarray:
    """As the other runtimes have them: an int8 graph computes some convolutions on several columns at once."""
    (node,) = (n for n in read_graph(path).graph if n.op_type == "Conv" and str(n.name).startswith(module))
    maker = node.inputs[1].producer()
    return constant_value(node.inputs[1] if maker is None else maker.inputs[0]).copy()


def first_channel_off(weights: np.ndarray) -> np.ndarray:
    """One wrong filter of twelve."""
    weights[0] = weights[0, ..., ::-1] if weights.shape[-1] == 3 else weights[0][::-1]
    return weights


def swapped(weights: np.ndarray) -> np.ndarray:
    weights[[1, 4]] = weights[[4, 1]]
    return weights


def one_weight_off(weights: np.ndarray) -> np.ndarray:
    flat, step = weights.reshape(-1), np.asarray(1 if weights.dtype == np.float32 else 100, weights.dtype)
    flat[7] -= np.copysign(step, flat[7]).astype(weights.dtype)
    return weights


@pytest.mark.parametrize("change", [first_channel_off, swapped, one_weight_off])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_layer_of_the_onnx_graph_is_named_by_the_other_precisions_graph(bundle_directory, reseal, precision, change):
    """The reference itself is what broke: the graph of the other precision still gives its golden outputs."""
    damage_onnx(bundle_directory / f"models/model.{precision}.onnx", "second", change)
    location = locate_in_artifact(reseal(bundle_directory), "onnxruntime", precision)
    assert (location.module, location.found) == (SECOND, True), location.message
    assert "Conv" in location.operator
    assert location.alone_db is not None


@pytest.mark.parametrize("change", [first_channel_off, swapped, one_weight_off])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("index", "module"), [(0, "first.conv"), (1, SECOND)])
def test_a_layer_of_the_tflite_file_is_named(bundle_directory, reseal, precision, change, index, module):
    damage_tflite(bundle_directory / f"models/model.{precision}.tflite", index, change)
    location = locate_in_artifact(reseal(bundle_directory), "litert", precision)
    assert location.module == module, location.message
    assert location.stage == "runtime"
    assert "Conv" in location.operator
    assert location.after_db is not None
    before = next(row for row in location.layers if row.layer == "first.conv")
    assert (before.alone_db is None or before.alone_db > 60) == (module == SECOND)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_layer_of_the_openvino_file_is_named(bundle_directory, reseal, precision):
    exact = weights_of(bundle_directory / f"models/model.{precision}.onnx", "second")
    damage_openvino(bundle_directory / f"models/model.{precision}.xml", exact, first_channel_off)
    location = locate_in_artifact(reseal(bundle_directory), "openvino", precision)
    assert location.module == SECOND, location.message
    assert location.stage == "runtime"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named_first(bundle_directory, reseal, value):
    def spoilt(weights):
        weights[0, 0] = value
        return weights

    damage_tflite(bundle_directory / "models/model.fp32.tflite", 1, spoilt)
    location = locate_in_artifact(reseal(bundle_directory), "litert", "fp32")
    assert location.module == SECOND, location.message
    assert "are NaN or infinite" in location.message
    assert location.alone_db == NOT_FINITE_DB


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_of_a_sound_artefact_no_operator_is_named_and_every_one_is_listed(exported, runtime, precision):
    location = locate_in_artifact(load_bundle(exported), runtime, precision)
    assert not location.found, location.message
    assert "no single operator is to blame" in location.message
    assert {"first.conv", SECOND, "last"} <= {row.layer for row in location.layers}
    bound = 60 if precision == "int8" else 100
    assert all(row.alone_db is None or row.alone_db > bound for row in location.layers)


def test_a_bundle_without_a_graph_says_so(bundle_directory, reseal):
    for precision in ("fp32", "int8"):
        damage_onnx(bundle_directory / f"models/model.{precision}.onnx", "second", swapped)
    location = locate_in_artifact(reseal(bundle_directory), "litert", "fp32")
    assert not location.found
    assert location.message.count("does not give its own golden outputs") == 2


def test_a_process_of_its_own_looks_and_answers(bundle_directory, reseal):
    damage_tflite(bundle_directory / "models/model.int8.tflite", 1, first_channel_off)
    location = locate_break(reseal(bundle_directory), "litert", "int8")
    assert location.module == SECOND
    assert "steps of its quantiser off" in location.message
    assert "In the running network its input is at" in location.message


def test_a_runtime_that_cannot_be_looked_into_is_told(exported):
    location = locate_break(load_bundle(exported), "tensorrt", "int8")
    assert not location.found
    assert "cannot be told" in location.message
