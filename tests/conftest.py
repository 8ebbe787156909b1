"""Small ONNX graphs written as text, and a bundle of a two-convolution network made without the exporter."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import settings

from edgeconv.graph import infer_shapes, to_bytes

settings.register_profile("edgeconv", deadline=None)  # no test depends on how fast this machine is
settings.load_profile("edgeconv")

SHAPE = (1, 3, 24, 32)
CASES = 3


@dataclasses.dataclass(frozen=True)
class Tiny:
    """Model files of one network, with the quantisers of its tensors as (scale, zero point of int8)."""

    directory: Path
    input: tuple[float, int]
    output: tuple[float, int]

    def run_onnx(self, name: str, inputs: np.ndarray[Any, Any], *, optimise: bool = True) -> np.ndarray[Any, Any]:
        from edgeconv.runtimes.onnxruntime import import_onnxruntime

        ort = import_onnxruntime()
        options = ort.SessionOptions()
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(self.directory / name), options, providers=["CPUExecutionProvider"])
        return np.stack([session.run(None, {"x": x})[0] for x in inputs])


def _build_graph(text: str, **constants: np.ndarray[Any, Any]) -> ir.Model:
    """A static opset-18 graph; inputs that are named in `constants` become initialisers."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')
    for value in [value for value in proto.graph.input if value.name in constants]:
        proto.graph.input.remove(value)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(constants[value.name], value.name))
    for node in proto.graph.node:
        node.name = node.name or f"{node.output[0]}/{node.op_type}"
    onnx.checker.check_model(proto, full_check=True)
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model


@pytest.fixture(scope="session", autouse=True)
def own_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a benchmark keeps goes to a folder of the tests', never to the user's."""
    home = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "EDGECONV_HISTORY", str(home / "history.sqlite"))
        patch.setitem(os.environ, "XDG_STATE_HOME", str(home / "state"))
        yield


@pytest.fixture
def optimised(tmp_path: Path) -> Callable[[ir.Model], Counter[str]]:
    """Counts the operators that ONNX Runtime's own optimiser leaves of a graph, by type."""

    def left(model: ir.Model) -> Counter[str]:
        from edgeconv.runtimes.onnxruntime import import_onnxruntime

        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 4
        ort.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)

    return left


@pytest.fixture(scope="session")
def build_graph() -> Callable[..., ir.Model]:
    return _build_graph


@pytest.fixture(scope="session")
def raw_images() -> np.ndarray[Any, Any]:
    """8-bit images as a golden archive holds them: (cases, 1, 3, 24, 32)."""
    return np.random.default_rng(1).integers(0, 256, (CASES, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, raw_images: np.ndarray[Any, Any]) -> Tiny:
    from edgeconv.runtimes.openvino import import_openvino

    directory = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, 8).astype(np.float32),
        "w2": rng.normal(0, 0.2, (2, 8, 3, 3)).astype(np.float32),
        "b2": rng.normal(0, 0.1, 2).astype(np.float32),
    }
    _write_onnx(directory / "model.fp32.onnx", weights)
    images = raw_images.astype(np.float32) / 255
    hidden = _hidden(directory / "model.fp32.onnx", images)
    outputs = Tiny(directory, (0, 0), (0, 0)).run_onnx("model.fp32.onnx", images)
    quantisers = [_quantiser(array) for array in (images, hidden, outputs)]
    _write_qdq(directory / "model.int8.onnx", weights, quantisers)
    (directory / "model.fp32.tflite").write_bytes(_tflite(weights, None))
    (directory / "model.int8.tflite").write_bytes(_tflite(weights, quantisers))
    openvino = import_openvino()
    for precision, source, halves in (("fp32", "fp32", False), ("fp16", "fp32", True), ("int8", "int8", False)):
        model = openvino.convert_model(directory / f"model.{source}.onnx")
        openvino.save_model(model, directory / f"model.{precision}.xml", compress_to_fp16=halves)
    return Tiny(directory, quantisers[0], quantisers[2])


@pytest.fixture(scope="session")
def tiny_bundle_master(tiny: Tiny, raw_images: np.ndarray[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeconv.export.bundle import place_artifact, write_bundle
    from edgeconv.files import sha256_file
    from edgeconv.manifest import Artifact, FileEntry, Manifest, ModelIdentity, Normalisation, Port, TensorSpec

    def tensor(name: str, channels: int, runtime: str, precision: str, quantiser: tuple[float, int]) -> TensorSpec:
        if runtime != "litert":
            return TensorSpec(name, name, [1, channels, *SHAPE[2:]], "NCHW", "float32")
        shape = [1, *SHAPE[2:], channels]
        if precision != "int8":
            return TensorSpec(name, name, shape, "NHWC", "float32")
        return TensorSpec(name, name, shape, "NHWC", "int8", *quantiser)

    def artifact(runtime: str, precision: str, name: str, *companions: str) -> Artifact:
        entries = [
            FileEntry(n, sha256_file(tiny.directory / n), (tiny.directory / n).stat().st_size)
            for n in (name, *companions)
        ]
        return place_artifact(
            Artifact(
                entries[0].path,
                entries[0].sha256,
                entries[0].bytes,
                runtime,
                precision,
                [tensor("x", 3, runtime, precision, tiny.input)],
                [tensor("y", 2, runtime, precision, tiny.output)],
                entries[1:],
            )
        )

    artifacts = [
        artifact("litert", "int8", "model.int8.tflite"),
        artifact("litert", "fp32", "model.fp32.tflite"),
        artifact("onnxruntime", "int8", "model.int8.onnx"),
        artifact("onnxruntime", "fp32", "model.fp32.onnx"),
        artifact("openvino", "int8", "model.int8.xml", "model.int8.bin"),
        artifact("openvino", "fp16", "model.fp16.xml", "model.fp16.bin"),
        artifact("openvino", "fp32", "model.fp32.xml", "model.fp32.bin"),
    ]
    images = raw_images.astype(np.float32) * np.float32(1 / 255)
    onnx = tiny.run_onnx("model.fp32.onnx", images)
    golden = {
        "input.x": raw_images,
        "torch.y": onnx + np.float32(1e-6),  # as far off as another implementation's sums
        "onnx.y": onnx,
        "qdq.y": tiny.run_onnx("model.int8.onnx", images, optimise=False),
        "target": (onnx > 0).astype(np.float32),
    }
    manifest = Manifest(
        schema_version=1,
        name="tiny-host",
        model=ModelIdentity("tiny", "tests", None, 370, 1, "exact"),
        device="host",
        inputs=[Port("x", list(SHAPE), "uint8", "NCHW", Normalisation(1 / 255, [0.0] * 3, [1.0] * 3))],
        outputs=[Port("y", [1, 2, *SHAPE[2:]], "float32", "NCHW")],
        artifacts=artifacts,
        files=[],
        failures=[],
        rewrites=[],
        tolerances=[],
        metric="dice",
        quantisation={},
        tools={},
        reproduce=[],
    )
    path = tmp_path_factory.mktemp("bundles") / "tiny-host"
    sources = {path: tiny.directory / Path(path).name for artifact in artifacts for path in artifact.paths}
    write_bundle(path, manifest, sources, golden)
    return path


@pytest.fixture
def tiny_bundle(tiny_bundle_master: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle_master, tmp_path / "tiny-host"))


def _quantiser(array: np.ndarray[Any, Any]) -> tuple[float, int]:
    low, high = min(float(array.min()), 0.0), max(float(array.max()), 0.0)
    scale = np.float32((high - low) / 255)
    return float(scale), round(-128 - low / float(scale))


def _per_channel(weight: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    scale = (np.abs(weight.reshape(len(weight), -1)).max(1) / 127).astype(np.float32)
    return np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8), scale


def _save(path: Path, nodes: list[Any], initializers: dict[str, np.ndarray[Any, Any]], output: str = "y") -> None:
    import onnx
    from onnx import helper, numpy_helper

    channels = 2 if output == "y" else 8
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, (1, channels, *SHAPE[2:]))],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)


def _nodes(weights: tuple[str, ...], activations: tuple[str, ...]) -> list[Any]:
    """Conv, Relu, Conv between the tensors `activations`: input, input of the second convolution, output."""
    from onnx import helper

    (w1, b1, w2, b2), (first, second, last) = weights, activations
    return [
        helper.make_node("Conv", [first, w1, b1], ["c"], "first/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "first/Relu"),
        helper.make_node("Conv", [second, w2, b2], [last], "second/Conv", pads=[1, 1, 1, 1]),
    ]


def _write_onnx(path: Path, weights: dict[str, np.ndarray[Any, Any]]) -> None:
    _save(path, _nodes(("w1", "b1", "w2", "b2"), ("x", "r", "y")), weights)


def _hidden(path: Path, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the second convolution reads."""
    import onnx

    from edgeconv.runtimes.onnxruntime import import_onnxruntime

    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, (1, 8, *SHAPE[2:])))
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"x": image})[0] for image in images])


def _write_qdq(path: Path, weights: dict[str, np.ndarray[Any, Any]], quantisers: list[tuple[float, int]]) -> None:
    from onnx import helper

    initializers: dict[str, np.ndarray[Any, Any]] = {}
    nodes: list[Any] = []

    def pair(source: str, quantiser: tuple[float, int], result: str) -> None:
        initializers[f"{source}_s"] = np.float32(quantiser[0])
        initializers[f"{source}_z"] = np.int8(quantiser[1])
        scale = [f"{source}_s", f"{source}_z"]
        nodes.append(helper.make_node("QuantizeLinear", [source, *scale], [f"{source}_q"], f"{source}/Q"))
        nodes.append(helper.make_node("DequantizeLinear", [f"{source}_q", *scale], [result], f"{source}/DQ"))

    pair("x", quantisers[0], "x_d")
    for index, (w, b) in enumerate((("w1", "b1"), ("w2", "b2"))):
        integers, scale = _per_channel(weights[w])
        bias_scale = (scale * np.float32(quantisers[index][0])).astype(np.float32)
        initializers |= {f"{w}_q": integers, f"{w}_s": scale, f"{b}_s": bias_scale}
        initializers[f"{b}_q"] = np.rint(weights[b] / bias_scale).astype(np.int32)
        for name in (w, b):
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [f"{name}_d"], axis=0))
    convolutions = _nodes(("w1_d", "b1_d", "w2_d", "b2_d"), ("x_d", "r_d", "last"))
    nodes.extend(convolutions[:2])
    pair("r", quantisers[1], "r_d")
    nodes.append(convolutions[2])
    pair("last", quantisers[2], "y")
    _save(path, nodes, initializers)


def _tflite(weights: dict[str, np.ndarray[Any, Any]], quantisers: list[tuple[float, int]] | None) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    graph.name, graph.tensors, graph.operators = b"main", [], []

    def tensor(name: str, shape: tuple[int, ...], data: Any = None, scale: Any = None, zero: Any = 0) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.hasRank, made.buffer = name.encode(), list(shape), True, 0
        made.type = schema.TensorType.FLOAT32
        if scale is not None:
            made.type = schema.TensorType.INT32 if name.startswith("b") else schema.TensorType.INT8
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(scale).astype(np.float32)
            made.quantization.zeroPoint = np.full(np.size(scale), zero, np.int64)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    shapes = {"x": 3, "r": 8, "y": 2}
    ids = [
        tensor(name, (1, *SHAPE[2:], channels), None, *(quantisers[i] if quantisers else ()))
        for i, (name, channels) in enumerate(shapes.items())
    ]
    for index, (w, b) in enumerate((("w1", "b1"), ("w2", "b2"))):
        weight, bias = weights[w], weights[b]
        scales: tuple[Any, Any] = (None, None)
        if quantisers:
            weight, scale = _per_channel(weights[w])
            scales = (scale, scale * np.float32(quantisers[index][0]))
            bias = np.rint(weights[b] / scales[1]).astype(np.int32)
        weight = weight.transpose(0, 2, 3, 1)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = int(index == 0)  # RELU
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = [
            ids[index],
            tensor(w, weight.shape, weight, scales[0]),
            tensor(b, bias.shape, bias, scales[1]),
        ]
        operator.outputs = [ids[index + 1]]
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [ids[0]], [ids[2]]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3 if quantisers else 1
    model.operatorCodes = [code]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
