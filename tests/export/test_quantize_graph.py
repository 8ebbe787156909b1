from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.errors import DataError, ExportError, UsageError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import (
    Grid,
    QuantisationResult,
    QuantisationScheme,
    Recipe,
    observed_tensors,
    quantize,
    validate_qdq,
)
from edgeconv.export.reference import run_reference
from edgeconv.graph import constant_value
from edgeconv.schema import from_dict, to_json

Build = Callable[..., ir.Model]
Sample = dict[str, np.ndarray]
_RNG = np.random.default_rng(7)
_W = _RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
_B = _RNG.normal(size=4).astype(np.float32)


def _samples(model: ir.Model, count: int = 4, low: float = -1.0, high: float = 1.0) -> list[Sample]:
    rng = np.random.default_rng(3)
    return [
        {str(v.name): rng.uniform(low, high, tuple(v.shape.numpy())).astype(np.float32) for v in model.graph.inputs}
        for _ in range(count)
    ]


def _quantise(model: ir.Model, samples: list[Sample] | None = None, **scheme: object) -> QuantisationResult:
    """Quantise with minmax ranges, so that nothing is clipped, and check what comes out as ONNX."""
    samples = samples or _samples(model)
    statistics = collect_statistics(model, samples, tensors=observed_tensors(model))
    result = quantize(model, statistics, samples, scheme=QuantisationScheme(**{"ranges": "minmax", **scheme}))
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    return result


def _grid(result: QuantisationResult, name: str) -> tuple[float, int]:
    record = next(record for record in result.recipe.tensors if record.name == name)
    return record.scale, record.zero_point


def _node(result: QuantisationResult, name: str) -> ir.Node:
    return next(node for node in result.model.graph if node.name == name)


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def _error_db(model: ir.Model, result: QuantisationResult, samples: list[Sample] | None = None) -> float:
    """The worst SQNR over the outputs."""
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    for sample in samples or _samples(model):
        expected, found = run_reference(model, sample), run_reference(result.model, sample)
        assert set(expected) == set(found)
        for name, array in expected.items():
            signal[name] = signal.get(name, 0) + float((array.astype(float) ** 2).sum())
            noise[name] = noise.get(name, 0) + float(((array - found[name]).astype(float) ** 2).sum())
    return min(10 * np.log10(signal[name] / max(noise[name], 1e-30)) for name in signal)


def test_a_convolution_has_quantisers_around_it_and_integer_parameters(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[4,2,3,3] w, float[4] b) => (float[1,4,4,4] y) { c = Conv(x, w, b) y = Relu(c) }",
        w=_W,
        b=_B,
    )
    result = _quantise(model)
    assert _operators(result.model) == [
        *("QuantizeLinear", "DequantizeLinear"),
        *("DequantizeLinear", "DequantizeLinear", "Conv", "Relu"),
        *("QuantizeLinear", "DequantizeLinear"),
    ]
    arrays = {name: constant_value(value) for name, value in result.model.graph.initializers.items()}
    assert arrays["w_q"].dtype == np.int8
    assert arrays["b_q"].dtype == np.int32
    assert arrays["x_scale"].shape == arrays["x_zero_point"].shape == ()
    assert arrays["w_scale"].shape == arrays["b_scale"].shape == (4,)
    assert arrays["b_scale"] == pytest.approx(arrays["x_scale"] * arrays["w_scale"], rel=1e-6)
    assert [value.name for value in result.model.graph.outputs] == ["y"]
    assert _grid(result, "y")[1] == -128  # a ReLU output wastes no integer on negative values
    assert _error_db(model, result) > 38
    assert _operators(model) == ["Conv", "Relu"]  # the given graph stays as it was


def test_without_bias_correction_a_convolution_without_bias_gets_none(build_graph: Build) -> None:
    model = build_graph("g (float[1,2,6,6] x, float[4,2,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=_W)
    assert len(_node(_quantise(model, bias_correction=False), "y/Conv").inputs) == 2
    assert len(_node(_quantise(model), "y/Conv").inputs) == 3


@pytest.mark.parametrize(
    ("text", "shape", "axis"),
    [
        ("g (float[2,6] x, float[6,5] w) => (float[2,5] y) { y = Gemm(x, w) }", (6, 5), 1),
        ("g (float[2,6] x, float[5,6] w) => (float[2,5] y) { y = Gemm<transB=1>(x, w) }", (5, 6), 0),
        ("g (float[2,6] x, float[6,5] w) => (float[2,5] y) { y = MatMul(x, w) }", (6, 5), 1),
        ("g (float[3,2,6] x, float[3,6,5] w) => (float[3,2,5] y) { y = MatMul(x, w) }", (3, 6, 5), 2),
        ("g (float[1,6,4,4] x, float[5,6,1,1] w) => (float[1,5,4,4] y) { y = Conv(x, w) }", (5, 6, 1, 1), 0),
        ("g (float[1,6,4,4] x, float[6,1,3,3] w) => (float[1,6,2,2] y) { y = Conv<group=6>(x, w) }", (6, 1, 3, 3), 0),
        ("g (float[1,6,4,4] x, float[6,5,2,2] w) => (float[1,5,5,5] y) { y = ConvTranspose(x, w) }", (6, 5, 2, 2), 1),
        ("g (float[1,6,4,4] x, float[6,5,2,2] w) => (float[1,10,5,5] y) { y = ConvTranspose<group=2>(x, w) }",
         (6, 5, 2, 2), 1),
    ],
)  # fmt: skip
def test_weights_have_one_scale_for_each_output_channel(
    build_graph: Build, text: str, shape: tuple[int, ...], axis: int
) -> None:
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model = build_graph(text, w=weights)
    result = _quantise(model)
    dequantise = result.model.graph.initializers["w_q"].consumers()[0]
    assert dequantise.attributes["axis"].as_int() == axis
    largest = np.abs(weights).max(axis=tuple(i for i in range(len(shape)) if i != axis))
    assert constant_value(dequantise.inputs[1]) == pytest.approx(largest / 127)
    assert _error_db(model, result) > 36


def test_a_gemm_bias_of_any_shape_becomes_one_value_for_each_output(build_graph: Build) -> None:
    for bias in (np.float32([1, 2, 3, 4, 5]), np.float32([[1, 2, 3, 4, 5]]), np.float32(2.5)):
        dims = ",".join(map(str, bias.shape))
        model = build_graph(
            f"g (float[2,6] x, float[6,5] w, float{f'[{dims}]' if dims else ''} b) => (float[2,5] y)"
            " { y = Gemm(x, w, b) }",
            w=np.ones((6, 5), np.float32),
            b=np.array(bias),
        )
        result = _quantise(model)
        assert constant_value(result.model.graph.initializers["b_q"]).shape == (5,)
        assert _error_db(model, result) > 38


def test_weights_shared_by_two_layers_are_quantised_for_each(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[2,2,3,3] w, float[2] b) => (float[1,2,2,2] y) {"
        " c = Conv(x, w, b) y = Conv(c, w, b) }",
        w=_W[:2],
        b=_B[:2],
    )
    result = _quantise(model)
    first, second = (_node(result, name) for name in ("c/Conv", "y/Conv"))
    assert first.inputs[2] is not second.inputs[2]  # their inputs have different scales, so must their biases
    assert _error_db(model, result) > 33


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("order", ["x, k", "k, x"])
def test_a_constant_operand_is_asymmetric_with_a_true_scalar_scale(
    build_graph: Build, operator: str, order: str
) -> None:
    constant = np.random.default_rng(0).uniform(0, 3, (1, 2, 4, 4)).astype(np.float32)
    model = build_graph(
        f"g (float[1,2,4,4] x, float[1,2,4,4] k) => (float[1,2,4,4] y) {{ y = {operator}({order}) }}", k=constant
    )
    result = _quantise(model)
    arrays = {name: constant_value(value) for name, value in result.model.graph.initializers.items()}
    assert arrays["k_scale"].shape == arrays["k_zero_point"].shape == ()
    assert arrays["k_zero_point"] == -128
    assert arrays["k_q"].dtype == np.int8
    assert _error_db(model, result) > 38


def test_a_scalar_constant_keeps_its_rank(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float k) => (float[1,2,4,4] y) { y = Mul(x, k) }", k=np.array(0.3, np.float32)
    )
    result = _quantise(model)
    assert constant_value(result.model.graph.initializers["k_q"]).shape == ()
    assert _error_db(model, result) > 40


def test_prelu_slopes_are_a_constant_operand(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, float[2,1,1] k) => (float[1,2,4,4] y) { y = PRelu(x, k) }",
        k=np.array([0.1, -0.2], np.float32).reshape(2, 1, 1),
    )
    result = _quantise(model)
    assert constant_value(result.model.graph.initializers["k_q"]).dtype == np.int8
    assert _error_db(model, result) > 38


def test_a_graph_output_that_is_read_inside_keeps_its_name(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[2,2,3,3] w) => (float[1,2,4,4] y, float[1,2,2,2] z) {"
        " y = Conv(x, w) z = Conv(y, w) }",
        w=_W[:2],
    )
    result = _quantise(model)
    assert [value.name for value in result.model.graph.outputs] == ["y", "z"]
    inner = _node(result, "z/Conv").inputs[0]
    assert inner is result.model.graph.outputs[0]
    assert inner.producer().op_type == "DequantizeLinear"
    assert _error_db(model, result) > 33


def test_a_float_island_reads_what_int8_readers_read(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[2,2,3,3] w) => (float[1,2,6,6] y) {"
        " c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) a = Abs(c) s = Sqrt(a) y = Add(s, r) }",
        w=_W[:2],
    )
    result = _quantise(model)
    absolute, relu = _node(result, "a/Abs"), _node(result, "r/Relu")
    assert absolute.inputs[0] is relu.inputs[0]
    assert absolute.inputs[0].producer().op_type == "DequantizeLinear"
    assert _node(result, "s/Sqrt").inputs[0] is absolute.outputs[0]  # no rounding inside an island
    assert result.summary.float_islands == ("a/Abs", "s/Sqrt")
    assert _error_db(model, result) > 30


def test_what_is_no_float_is_left_alone(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,4,4] x, int64[1,2] i) => (float[1,2,4,4] y, int64[1,2] j) { y = Relu(x) j = Add(i, i) }"
    )
    sample = {"x": np.ones((1, 2, 4, 4), np.float32), "i": np.ones((1, 2), np.int64)}
    result = _quantise(model, [sample])
    assert _node(result, "j/Add").inputs[0] is result.model.graph.inputs[1]
    assert run_reference(result.model, sample)["j"].tolist() == [[2, 2]]


def test_a_tensor_that_is_always_zero_stays_zero(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[4,2,3,3] w, float[4,4,1,1] v) => (float[1,4,4,4] y) {"
        " c = Conv(x, w) r = Relu(c) y = Conv(r, v) }",
        w=-np.abs(_W),
        v=np.ones((4, 4, 1, 1), np.float32),
    )
    samples = _samples(model, low=0.0)
    result = _quantise(model, samples)
    assert not run_reference(result.model, samples[0])["y"].any()


def test_nodes_without_names_are_told_apart(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[2,2,3,3] w) => (float[1,2,2,2] y) { c = Conv(x, w) y = Conv(c, w) }", w=_W[:2]
    )
    for node in model.graph:
        node.name = None
    assert len({node.name for node in _quantise(model).recipe.nodes}) == 2


def test_the_recipe_survives_json_and_counts_what_happened(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[4,2,3,3] w, float[4] b) => (float[1,4,4,4] y) { c = Conv(x, w, b) y = Sqrt(c) }",
        w=np.abs(_W),
        b=np.abs(_B) * 10,
    )
    model.graph[0].metadata_props["edgeconv.module"] = "encoder.first"
    result = _quantise(model, _samples(model, low=0.0))
    assert from_dict(Recipe, json.loads(to_json(result.recipe))) == result.recipe
    convolution, root = result.recipe.nodes
    assert (convolution.decision, convolution.macs, convolution.module) == ("int8", 4 * 4 * 4 * 2 * 9, "encoder.first")
    assert (root.decision, root.reason) == ("float", "no int8 form")
    assert result.summary.int8_operators == 1
    assert result.summary.float_islands == ("y/Sqrt",)
    assert result.summary.int8_mac_share == 1.0
    assert result.summary.corrected_biases == convolution.bias_corrected
    assert 1 < result.summary.bias_q_max_log2 < 30


def test_a_raised_weight_scale_is_named_in_the_recipe(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[4,2,3,3] w, float[4] b) => (float[1,4,4,4] y) { y = Conv(x, w, b) }",
        w=_W * np.array([1, 1, 1e-9, 1], np.float32).reshape(4, 1, 1, 1),
        b=_B,
    )
    result = _quantise(model)
    assert result.recipe.nodes[0].raised_channels == (2,)
    assert _error_db(model, result) > 38


def test_weights_that_are_not_finite_name_the_node(build_graph: Build) -> None:
    model = build_graph("g (float[1,2,6,6] x, float[4,2,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=_W)
    samples = _samples(model)
    statistics = collect_statistics(model, samples)
    bad = _W.copy()
    bad[0, 0, 0, 0] = np.inf
    model.graph.initializers["w"].const_value = ir.tensor(bad, name="w")
    with pytest.raises(ExportError, match=r"weights of node 'y/Conv'"):
        quantize(model, statistics, samples)


def test_bias_correction_without_samples_is_refused(build_graph: Build) -> None:
    model = build_graph("g (float[1,2,6,6] x, float[4,2,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=_W)
    statistics = collect_statistics(model, _samples(model))
    with pytest.raises(DataError, match="no calibration sample"):
        quantize(model, statistics, [])


def test_an_image_input_has_its_own_grid(build_graph: Build) -> None:
    model = build_graph("g (float[1,2,6,6] x, float[4,2,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=_W)
    samples = _samples(model, low=0.2, high=0.7)
    grid = Grid(1 / 255, -128)
    assert _grid(_quantise(model, samples, input_grid={"x": grid}), "x") == (grid.scale, grid.zero_point)
    assert _grid(_quantise(model, samples), "x") != (grid.scale, grid.zero_point)


def test_a_grid_for_an_unknown_input_is_refused(build_graph: Build) -> None:
    model = build_graph("g (float[1,2,6,6] x, float[4,2,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=_W)
    with pytest.raises(UsageError, match="'image'"):
        _quantise(model, input_grid={"image": Grid(1 / 255, -128)})


_VALID = """g (float[1,2,6,6] x, float[2,2,3,3] w, float[2] b) => (float[1,4,2,2] y) {
    c = Conv(x, w, b)  r = Relu(c)  s = Sigmoid(c)  t = Concat<axis=1>(r, c)
    u = MaxPool<kernel_shape=[2,2], strides=[2,2]>(t)  v = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s)
    z = Concat<axis=1>(v, v) y = Add(u, z)
}"""


def _change(model: ir.Model, name: str, array: np.ndarray) -> None:
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(array, name=name)
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    value.shape = ir.Shape(array.shape)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("x_scale", lambda a: a.reshape(1), "true scalar|shape"),
        ("x_scale", lambda a: -a, "positive"),
        ("x_scale", lambda a: a * 2, "scale of its bias"),
        ("x_zero_point", lambda a: a.astype(np.uint8), "expected"),
        ("u_zero_point", lambda a: np.array(a + 1, a.dtype), "different quantisers"),
        ("u_scale", lambda a: np.array(a * 2, a.dtype), "different quantisers"),
        ("s_scale", lambda a: np.array(a * 2, a.dtype), "its output has scale|different quantisers"),
        ("w_q", lambda a: np.full_like(a, -128), r"\[-127, 127\]"),
        ("w_q", lambda a: a.astype(np.int16), "int8"),
        ("w_zero_point", np.ones_like, "zero points 0"),
        ("w_scale", lambda a: a[:1], "one value for each channel|shape"),
        ("b_q", lambda a: np.full_like(a, 2**30), r"2\^30"),
        ("b_scale", lambda a: a * 2, "scale of its bias"),
    ],
)
def test_a_damaged_graph_does_not_pass_the_validator(
    build_graph: Build, name: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    result = _quantise(build_graph(_VALID, w=_W[:2], b=_B[:2]))
    validate_qdq(result.model)
    array = constant_value(result.model.graph.initializers[name])
    _change(result.model, name, np.asarray(change(array)))
    with pytest.raises(ExportError, match=message):
        validate_qdq(result.model)


def test_a_port_without_quantiser_does_not_pass_the_validator(build_graph: Build) -> None:
    model = build_graph("g (float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Relu(x) }")
    with pytest.raises(ExportError, match="graph input 'x'"):
        validate_qdq(model)


def test_a_zero_point_does_not_pass_as_symmetric(build_graph: Build) -> None:
    model = build_graph(_VALID, w=_W[:2], b=_B[:2])
    validate_qdq(_quantise(model, activations="symmetric").model, symmetric=True)
    with pytest.raises(ExportError, match="symmetric"):
        validate_qdq(_quantise(model).model, symmetric=True)
