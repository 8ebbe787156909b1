"""Single-operator ONNX graphs, float and Q/DQ, and their outputs in ONNX Runtime and LiteRT."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import UnsupportedOperatorError
from edgeconv.export.tflite import TFLiteResult, to_tflite
from edgeconv.runtimes.onnxruntime import import_onnxruntime

OPSET = 18


@dataclasses.dataclass(frozen=True)
class X:
    """An activation: a graph input, quantised over [low, high] in the Q/DQ form of the graph."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 3.0


@dataclasses.dataclass(frozen=True)
class W:
    """Weights: int8, one scale for each slice of `axis`."""

    array: npt.NDArray[np.float32]
    axis: int = 0


@dataclasses.dataclass(frozen=True)
class B:
    """A bias: int32 of scale s_input * s_weight."""

    array: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class C:
    """A constant operand: int8 with one scale and zero point."""

    array: npt.NDArray[np.float32]


Pair = tuple[float, int]


def quantiser_of(low: float, high: float) -> Pair:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low or 1.0) / 255))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


class Graph:
    """Builds one node, then what is put behind it."""

    def __init__(self, quantised: bool) -> None:
        self.quantised = quantised
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.ports: list[tuple[str, X, Pair]] = []
        self.weight_scale = np.ones(1, np.float32)

    def constant(self, array: npt.ArrayLike) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(
        self, op_type: str, inputs: Sequence[str], outputs: int = 1, name: str = "", **attributes: Any
    ) -> list[str]:
        names = [f"{op_type.lower()}{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(
            helper.make_node(op_type, inputs, names, name=name or f"net/{op_type}_{len(self.nodes)}", **attributes)
        )
        return names

    def qdq(self, value: str, pair: Pair) -> str:
        scale, zero = self.constant(np.float32(pair[0])), self.constant(np.int8(pair[1]))
        (q,) = self.node("QuantizeLinear", [value, scale, zero])
        return self.node("DequantizeLinear", [q, scale, zero])[0]

    def dequantised(self, array: npt.NDArray[Any], scale: npt.ArrayLike, zero: npt.ArrayLike, axis: int = 0) -> str:
        inputs = [self.constant(array), self.constant(np.asarray(scale, np.float32)), self.constant(zero)]
        return self.node("DequantizeLinear", inputs, axis=axis)[0]

    def operand(self, spec: Any, share: Pair | None) -> str:
        if spec is None:
            return ""
        if isinstance(spec, X):
            name = f"x{len(self.inputs)}"
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, spec.shape))
            pair = share or quantiser_of(spec.low, spec.high)
            self.ports.append((name, spec, pair))
            return self.qdq(name, pair) if self.quantised else name
        if not self.quantised or isinstance(spec, np.ndarray | np.generic | list):
            return self.constant(spec if isinstance(spec, np.ndarray | np.generic | list) else spec.array)
        if isinstance(spec, W):
            axes = tuple(axis for axis in range(spec.array.ndim) if axis != spec.axis)
            self.weight_scale = (np.abs(spec.array).max(axis=axes) / 127).astype(np.float32)
            shape = [-1 if axis == spec.axis else 1 for axis in range(spec.array.ndim)]
            integers = np.clip(np.rint(spec.array / self.weight_scale.reshape(shape)), -127, 127).astype(np.int8)
            return self.dequantised(integers, self.weight_scale, np.zeros(len(self.weight_scale), np.int8), spec.axis)
        if isinstance(spec, B):
            scale = np.float32(self.ports[0][2][0]) * self.weight_scale
            scale = np.tile(scale, spec.array.size // scale.size)
            integers = np.rint(spec.array / scale).astype(np.int32)
            return self.dequantised(integers, scale, np.zeros(len(scale), np.int32))
        scale, zero = share or quantiser_of(float(spec.array.min()), float(spec.array.max()))
        integers = np.clip(np.rint(spec.array / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        return self.dequantised(integers, np.float32(scale), np.int8(zero))

    def model(self, outputs: Sequence[str], opset: int) -> onnx.ModelProto:
        infos = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, infos, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def make(
    op_type: str,
    specs: Sequence[Any],
    quantised: bool = False,
    share: Pair | None = None,
    output: Pair | None = None,
    activation: str | None = None,
    outputs: int = 1,
    opset: int = OPSET,
    **attributes: Any,
) -> tuple[onnx.ModelProto, list[tuple[str, X, Pair]]]:
    """One node on `specs`; every input and output behind Q/DQ if `quantised`, all of them with `share` if given."""
    graph = Graph(quantised)
    names = graph.node(op_type, [graph.operand(spec, share) for spec in specs], outputs, **attributes)
    if activation == "Clip":
        names = graph.node("Clip", [names[0], graph.constant(np.float32(0)), graph.constant(np.float32(6))])
    elif activation:
        names = graph.node(activation, names)
    if quantised:
        pair = output or share
        names = [graph.qdq(name, pair or (1.0, 0)) for name in names]
    return graph.model(names, opset), graph.ports


def run_onnx(model: onnx.ModelProto, feeds: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[npt.NDArray[Any]] = session.run(None, feeds)
    return results


def run_tflite(
    result: TFLiteResult, feeds: dict[str, npt.NDArray[Any]], xnnpack: bool = True
) -> list[npt.NDArray[Any]]:
    """Outputs in the axis order of ONNX, in the type of the file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=result.data, num_threads=1, experimental_op_resolver_type=resolver)
    runner = interpreter.get_signature_runner()
    specs = {spec.port: spec for spec in result.inputs}
    outputs = runner(
        **{
            name: np.ascontiguousarray(array.transpose(0, 2, 3, 1) if specs[name].layout == "NHWC" else array)
            for name, array in feeds.items()
        }
    )
    return [
        outputs[spec.port].transpose(0, 3, 1, 2) if spec.layout == "NHWC" else outputs[spec.port]
        for spec in result.outputs
    ]


def normal(*shape: int) -> npt.NDArray[np.float32]:
    """Normal numbers that depend on nothing but the shape."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def lower(model: onnx.ModelProto) -> TFLiteResult:
    return to_tflite(ir.from_proto(model))


def sqnr_db(reference: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    reference, other = reference.astype(np.float64), other.astype(np.float64)
    noise = np.sum((reference - other) ** 2)
    return float("inf") if noise == 0 else float(10 * np.log10(np.sum(reference**2) / noise))


def check_float(op_type: str, *specs: Any, min_sqnr_db: float = 100.0, **options: Any) -> TFLiteResult:
    """Lower one float operator and compare with ONNX Runtime."""
    model, ports = make(op_type, specs, **options)
    result = lower(model)
    random = np.random.default_rng(0)
    feeds = {name: random.uniform(x.low, x.high, x.shape).astype(np.float32) for name, x, _ in ports}
    expected = run_onnx(model, feeds)
    for reference, actual in zip(expected, run_tflite(result, feeds), strict=True):
        assert actual.shape == reference.shape
        assert sqnr_db(reference, actual) >= min_sqnr_db
    return result


def check_int8(
    op_type: str,
    *specs: Any,
    share: bool = False,
    output: Pair | None = None,
    delegates: Sequence[bool] = (True, False),
    **options: Any,
) -> TFLiteResult:
    """Lower one Q/DQ operator and compare its integers with those of the reference, over the full range of int8.

    Args:
        share: one quantiser for all data inputs and outputs.
        output: quantiser of the output; by default the range that the operator really gives.
        delegates: whether to run with XNNPACK, with the runtime's own kernels, or both.
    """
    activations = [spec for spec in specs if isinstance(spec, X)]
    shared = quantiser_of(min(x.low for x in activations), max(x.high for x in activations)) if share else None
    if output is None and shared is None:
        model, ports = make(op_type, specs, **options)
        random = np.random.default_rng(1)
        results = run_onnx(model, {n: random.uniform(x.low, x.high, x.shape).astype(np.float32) for n, x, _ in ports})
        output = quantiser_of(float(min(map(np.min, results))), float(max(map(np.max, results))))
    model, ports = make(op_type, specs, quantised=True, share=shared, output=output, **options)
    result = lower(model)
    random = np.random.default_rng(2)
    integers = {name: random.integers(-128, 128, x.shape).astype(np.int8) for name, x, _ in ports}
    feeds = {n: ((integers[n] - np.float32(z)) * np.float32(s)).astype(np.float32) for n, _, (s, z) in ports}
    expected = run_onnx(model, feeds)
    for xnnpack in delegates:
        for spec, reference, actual in zip(
            result.outputs, expected, run_tflite(result, integers, xnnpack), strict=True
        ):
            assert actual.dtype == np.int8
            wanted = np.rint(reference / np.float32(spec.scale)).astype(int) + spec.zero_point
            worst = int(np.abs(wanted - actual.astype(int)).max())
            assert worst <= 1, f"{worst} LSB with{'' if xnnpack else 'out'} XNNPACK"
    return result


@pytest.fixture
def refused() -> Callable[..., str]:
    """The message with which a single operator is refused."""

    def message(op_type: str, *specs: Any, **options: Any) -> str:
        with pytest.raises(UnsupportedOperatorError) as error:
            lower(make(op_type, specs, **options)[0])
        return str(error.value)

    return message


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """Everything above: modules of tests cannot import each other."""
    return SimpleNamespace(
        X=X,
        W=W,
        B=B,
        C=C,
        Graph=Graph,
        check_float=check_float,
        check_int8=check_int8,
        lower=lower,
        make=make,
        normal=normal,
        quantiser_of=quantiser_of,
        run_onnx=run_onnx,
        run_tflite=run_tflite,
        sqnr_db=sqnr_db,
    )
