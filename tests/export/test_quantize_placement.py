from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize, validate_qdq
from edgeconv.export.quantize.placement import Placement
from edgeconv.export.quantize.plan import Plan, plan_operations
from edgeconv.export.reference import run_reference

Build = Callable[..., ir.Model]
_RNG = np.random.default_rng(5)
_W = _RNG.normal(0, 0.5, (2, 2, 3, 3)).astype(np.float32)
_GATE = _RNG.uniform(0, 1, (1, 2, 6, 6)).astype(np.float32)
_GATED = """g (float[1,2,6,6] x, float[2,2,3,3] w, float[1,2,6,6] k) => (float[1,2,6,6] y)
{ s = Conv<pads=[1,1,1,1]>(x, w) r = Relu(s) c = Conv<pads=[1,1,1,1]>(r, w) m = Mul(c, k) t = Relu(m)
  d = Conv<pads=[1,1,1,1]>(t, w) y = Add(d, x) }"""


def _plan(model: ir.Model, placement: Placement = Placement.WEIGHTED_INPUTS) -> Plan:
    return plan_operations(model.graph, placement=placement)


def _names(plan: Plan) -> set[str]:
    return {str(value.name) for value in plan.quantised}


def test_only_what_weighted_operators_read_is_quantised(build_graph: Build) -> None:
    plan = _plan(build_graph(_GATED, w=_W, k=_GATE))
    assert _names(plan) == {"r", "t"}
    decided = {str(operation.node.name): operation.is_int8 for operation in plan.operations}
    assert decided == {"s/Conv": False, "c/Conv": True, "m/Mul": False, "d/Conv": True, "y/Add": False}


def test_convolutions_write_integers_where_the_placement_says_so(build_graph: Build) -> None:
    narrow = _plan(build_graph(_GATED, w=_W, k=_GATE), Placement.CONVOLUTION_OUTPUTS)
    assert _names(narrow) == {"r", "t"}  # which floats compute as fast
    wide = _GATED.replace("[2,2,3,3]", "[16,16,1,3]").replace("[1,2,6,6]", "[1,16,6,6]").replace("1,1,1,1", "0,1,0,1")
    weights = _RNG.normal(0, 0.2, (16, 16, 1, 3)).astype(np.float32)
    plan = _plan(build_graph(wide, w=weights, k=np.repeat(_GATE, 8, axis=1)), Placement.CONVOLUTION_OUTPUTS)
    assert _names(plan) == {"r", "c", "t", "d"}  # r is what the float stem writes, y is the graph's
    decided = {str(operation.node.name): operation.is_int8 for operation in plan.operations}
    assert decided == {"s/Conv": False, "c/Conv": True, "m/Mul": False, "d/Conv": True, "y/Add": False}


@pytest.mark.parametrize(
    ("kernel", "attributes", "rounded"),
    [
        ((16, 16, 3, 1), "pads=[1,0,1,0]", True),
        ((16, 16, 3, 3), "pads=[1,1,1,1]", False),  # Winograd
        ((16, 16, 3, 3), "pads=[1,1,1,1],strides=[2,2]", True),
        ((16, 1, 3, 1), "pads=[1,0,1,0],group=16", False),
        ((24, 8, 3, 1), "pads=[1,0,1,0],group=2", False),
    ],
    ids=["wide", "3x3", "3x3 of stride 2", "depthwise", "groups"],
)
def test_convolutions_that_openvino_computes_in_float_write_float(
    build_graph: Build, kernel: tuple[int, ...], attributes: str, rounded: bool
) -> None:
    rows, columns = (3, 3) if "strides" in attributes else (6, 6)
    model = build_graph(
        f"g (float[1,2,6,6] x, float[16,2,1,1] s, float[{','.join(map(str, kernel))}] w, float[2,{kernel[0]},1,1] h)"
        f" => (float[1,2,{rows},{columns}] y) {{ a = Conv(x, s) b = Conv<{attributes}>(a, w) c = Sigmoid(b)"
        " y = Conv(c, h) }",
        s=np.ones((16, 2, 1, 1), np.float32),
        w=np.ones(kernel, np.float32),
        h=np.ones((2, kernel[0], 1, 1), np.float32),
    )
    assert _names(_plan(model, Placement.CONVOLUTION_OUTPUTS)) == {"a", "c", *(["b"] if rounded else [])}


def test_an_output_of_the_graph_is_not_rounded(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[16,2,1,1] s, float[16,16,1,1] w) => (float[1,16,6,6] y) {"
        " a = Conv(x, s) y = Conv(a, w) }",
        s=np.ones((16, 2, 1, 1), np.float32),
        w=np.ones((16, 16, 1, 1), np.float32),
    )
    assert _names(_plan(model, Placement.CONVOLUTION_OUTPUTS)) == {"a"}


def test_the_first_weighted_operator_stays_float_behind_operators_that_move_values(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[2,2,3,3] w, int64[8] p) => (float[1,2,4,4] y) {"
        " z = Pad(x, p) a = Conv(z, w) y = Conv(a, w) }",
        w=_W,
        p=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    )
    plan = _plan(model)
    assert [operation.is_int8 for operation in plan.operations] == [False, False, True]
    assert "input" in plan.operations[1].reason
    assert _names(plan) == {"a"}


def test_operators_that_move_values_are_int8_only_towards_a_weighted_one(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2,6,6] x, float[2,2,3,3] w, float[2,4,1,1] v) => (float[1,2,2,2] y, float[1,2,3,3] q) {"
        " a = Conv<pads=[1,1,1,1]>(x, w) b = Conv<pads=[1,1,1,1]>(a, w) c = Concat<axis=1>(a, b)"
        " p = MaxPool<kernel_shape=[3,3],strides=[3,3]>(c) y = Conv(p, v)"
        " q = MaxPool<kernel_shape=[2,2],strides=[2,2]>(b) }",
        w=_W,
        v=_RNG.normal(0, 1, (2, 4, 1, 1)).astype(np.float32),
    )
    plan = _plan(model)
    decided = {str(operation.node.name): operation.is_int8 for operation in plan.operations}
    assert decided["c/Concat"]
    assert decided["p/MaxPool"]
    assert not decided["q/MaxPool"]
    assert _names(plan) == {"a", "b", "c", "p"}


@pytest.mark.parametrize("name", ["symmetric", "symmetric-outputs"])
def test_the_symmetric_graph_computes_nearly_what_the_float_one_does(build_graph: Build, name: str) -> None:
    model = build_graph(_GATED, w=_W, k=_GATE)
    samples = [{"x": _RNG.normal(0, 1, (1, 2, 6, 6)).astype(np.float32)} for _ in range(4)]
    scheme = QuantisationScheme(name, ranges="minmax")
    tensors = observed_tensors(model, placement=scheme.placement)
    result = quantize(
        model,
        collect_statistics(model, samples, tensors=tensors),
        samples,
        scheme=scheme,
    )
    validate_qdq(result.model, symmetric=True)
    for sample in samples:
        expected, found = (run_reference(m, sample)["y"] for m in (model, result.model))
        assert 10 * np.log10(np.sum(expected**2) / np.sum((found - expected) ** 2)) > 35
