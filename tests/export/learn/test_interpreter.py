from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.executor import open_session
from edgeconv.export.learn.interpreter import Interpreter, unknown_operators
from edgeconv.export.quantize import quantize

BuildGraph = Callable[..., ir.Model]


@dataclasses.dataclass(frozen=True)
class Case:
    """An operator: its expression, the output's shape, and shapes or values of its constants."""

    expression: str
    output: str
    constants: dict[str, Any] = dataclasses.field(default_factory=dict)


CASES = {
    "conv": Case("Conv<pads=[1,1,1,1]>(x, w, b)", "1,4,6,8", {"w": (4, 4, 3, 3), "b": (4,)}),
    "conv uneven": Case("Conv<pads=[0,1,2,1], strides=[2,1]>(x, w)", "1,4,3,8", {"w": (4, 4, 3, 3)}),
    "conv groups": Case("Conv<group=2, dilations=[2,2], pads=[2,2,2,2]>(x, w)", "1,6,6,8", {"w": (6, 2, 3, 3)}),
    "up": Case("ConvTranspose<strides=[2,2]>(x, w, b)", "1,3,12,16", {"w": (4, 3, 2, 2), "b": (3,)}),
    "up cropped": Case(
        "ConvTranspose<strides=[2,2], pads=[1,0,1,1], output_padding=[1,0]>(x, w)", "1,3,12,16", {"w": (4, 3, 3, 3)}
    ),
    "matmul": Case("MatMul(x, w)", "1,4,6,5", {"w": (8, 5)}),
    "add": Case("Add(x, w)", "1,4,6,8", {"w": (1, 4, 1, 1)}),
    "sub": Case("Sub(w, x)", "1,4,6,8", {"w": (1, 4, 1, 1)}),
    "mul": Case("Mul(x, w)", "1,4,6,8", {"w": (1, 4, 6, 8)}),
    "div": Case("Div(x, w)", "1,4,6,8", {"w": np.array([1.5, 2, -3, 0.25], np.float32).reshape(1, 4, 1, 1)}),
    "relu": Case("Relu(x)", "1,4,6,8"),
    "clip": Case("Clip(x, lo, hi)", "1,4,6,8", {"lo": np.float32(0), "hi": np.float32(0.5)}),
    "clip above": Case("Clip(x, , hi)", "1,4,6,8", {"hi": np.float32(0.5)}),
    "leaky": Case("LeakyRelu<alpha=0.2>(x)", "1,4,6,8"),
    "sigmoid": Case("Sigmoid(x)", "1,4,6,8"),
    "tanh": Case("Tanh(x)", "1,4,6,8"),
    "softmax": Case("Softmax<axis=1>(x)", "1,4,6,8"),
    "max pool": Case("MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", "1,4,3,4"),
    "average pool": Case("AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", "1,4,3,4"),
    "average padded": Case("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", "1,4,6,8"),
    "global pool": Case("GlobalAveragePool(x)", "1,4,1,1"),
    "concat": Case("Concat<axis=1>(x, x)", "1,8,6,8"),
    "depth to space": Case("DepthToSpace<blocksize=2>(x)", "1,1,12,16"),
    "depth to space by columns": Case('DepthToSpace<blocksize=2, mode="CRD">(x)', "1,1,12,16"),
    "space to depth": Case("SpaceToDepth<blocksize=2>(x)", "1,16,3,4"),
    "reshape": Case("Reshape(x, w)", "1,32,6", {"w": np.array([0, -1, 6], np.int64)}),
    "transpose": Case("Transpose<perm=[0,2,3,1]>(x)", "1,6,8,4"),
    "flatten": Case("Flatten(x)", "1,192"),
    **{
        f"resize {mode} {rule} {size}": Case(
            f'Resize<mode="{mode}", coordinate_transformation_mode="{rule}", nearest_mode="{rounded}">(x, , w)',
            f"1,4,{size[0]},{size[1]}",
            {"w": np.array([1, 1, size[0] / 6, size[1] / 8], np.float32)},
        )
        for mode, rule, rounded in (
            ("nearest", "asymmetric", "floor"),
            ("nearest", "half_pixel", "round_prefer_floor"),
            ("linear", "half_pixel", "floor"),
            ("linear", "pytorch_half_pixel", "floor"),
            ("linear", "align_corners", "floor"),
            ("linear", "asymmetric", "floor"),
        )
        for size in ((12, 16), (3, 4))
    },
}


def _array(given: Any, generator: np.random.Generator) -> Any:
    return generator.normal(0, 0.5, given).astype(np.float32) if isinstance(given, tuple) else given


def _network(build_graph: BuildGraph, case: Case) -> ir.Model:
    generator = np.random.default_rng(0)
    arrays = {name: _array(given, generator) for name, given in case.constants.items()}
    kinds = {"float32": "float", "int64": "int64"}
    declared = "".join(
        f", {kinds[str(array.dtype)]}{list(array.shape) if array.ndim else ''} {name}" for name, array in arrays.items()
    )
    text = f"g (float[1,4,6,8] x{declared}) => (float[{case.output}] y) {{ y = {case.expression} }}"
    return build_graph(text, **{name: np.asarray(array) for name, array in arrays.items()})


@pytest.mark.parametrize("name", CASES)
def test_operator_computes_what_onnx_runtime_computes(build_graph: BuildGraph, name: str) -> None:
    model = _network(build_graph, CASES[name])
    inputs = {"x": np.random.default_rng(1).normal(0, 1, (1, 4, 6, 8)).astype(np.float32)}
    expected = open_session(model, optimise=False).run(None, inputs)[0]
    found = Interpreter(model).run(inputs)[0].detach().numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transposed", [False, True])
def test_gemm(build_graph: BuildGraph, transposed: bool) -> None:
    shape = (5, 8) if transposed else (8, 5)
    generator = np.random.default_rng(0)
    text = f"""g (float[2,8] x, float[{shape[0]},{shape[1]}] w, float[5] b) => (float[2,5] y) {{
        y = Gemm<transB={int(transposed)}, alpha=0.5, beta=2.0>(x, w, b) }}"""
    arrays = {name: generator.normal(0, 1, size).astype(np.float32) for name, size in (("w", shape), ("b", (5,)))}
    model = build_graph(text, **arrays)
    inputs = {"x": generator.normal(0, 1, (2, 8)).astype(np.float32)}
    expected = open_session(model, optimise=False).run(None, inputs)[0]
    np.testing.assert_allclose(Interpreter(model).run(inputs)[0].numpy(), expected, rtol=1e-5, atol=1e-6)


QDQ = """g (float[1,4,6,8] x, float[4,4,3,3] w, float[4] b, float[1,4,6,8] m) => (float[1,8,3,4] y) {
    c = Conv<pads=[1,1,1,1]>(x, w, b)
    r = Relu(c)
    s = Sigmoid(x)
    p = Mul(r, s)
    g = Mul(p, m)
    j = Concat<axis=1>(g, r)
    y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(j)
}"""


def _quantised(build_graph: BuildGraph) -> tuple[ir.Model, list[dict[str, np.ndarray[Any, Any]]]]:
    generator = np.random.default_rng(0)
    shapes = {"w": (4, 4, 3, 3), "b": (4,), "m": (1, 4, 6, 8)}
    model = build_graph(QDQ, **{n: generator.normal(0, 0.5, s).astype(np.float32) for n, s in shapes.items()})
    samples = [{"x": generator.normal(0, 1, (1, 4, 6, 8)).astype(np.float32)} for _ in range(4)]
    return quantize(model, collect_statistics(model, samples), samples).model, samples


def test_quantised_graph_gives_the_integers_of_onnx_runtime(build_graph: BuildGraph) -> None:
    model, samples = _quantised(build_graph)
    step = [node.inputs[1] for node in model.graph if node.op_type == "QuantizeLinear"][-1]
    scale = float(step.const_value.numpy())  # type: ignore[union-attr]
    session, network = open_session(model, optimise=False), Interpreter(model)
    for sample in samples:
        expected = session.run(None, sample)[0]
        apart = np.abs(network.run(sample)[0].numpy() - expected) / scale
        assert apart.max() < 1.01  # sums of floats in another order may round to the next integer
        assert np.mean(apart > 0.01) < 0.02


def test_gradients_reach_a_weight_through_rounding(build_graph: BuildGraph) -> None:
    model, samples = _quantised(build_graph)
    node = next(node for node in model.graph if node.op_type == "Conv")
    weights = node.inputs[1]
    assert weights is not None
    given = torch.full((4, 4, 3, 3), 0.1, requires_grad=True)
    Interpreter(model, [weights]).run(samples[0], {weights: given})[0].sum().backward()
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "expression",
    ["Erf(x)", 'Resize<mode="cubic">(x, , w)', "MaxPool<kernel_shape=[1,1], ceil_mode=1>(x)"],
)
def test_what_is_not_known_is_named(build_graph: BuildGraph, expression: str) -> None:
    text = f"g (float[1,4,6,8] x, float[4] w) => (float[1,4,6,8] y) {{ y = {expression} }}"
    model = build_graph(text, w=np.ones(4, np.float32))
    assert len(unknown_operators(model.graph)) == 1
    with pytest.raises(ExportError, match="cannot be computed while learning"):
        Interpreter(model)
