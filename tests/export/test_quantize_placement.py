from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import QuantisationScheme, observed_tensors, quantize, validate_qdq
from edgeconv.export.quantize.plan import Plan, plan_operations
from edgeconv.export.reference import run_reference

Build = Callable[..., ir.Model]
_RNG = np.random.default_rng(5)
_W = _RNG.normal(0, 0.5, (2, 2, 3, 3)).astype(np.float32)
_GATE = _RNG.uniform(0, 1, (1, 2, 6, 6)).astype(np.float32)
_GATED = """g (float[1,2,6,6] x, float[2,2,3,3] w, float[1,2,6,6] k) => (float[1,2,6,6] y)
{ s = Conv<pads=[1,1,1,1]>(x, w) r = Relu(s) c = Conv<pads=[1,1,1,1]>(r, w) m = Mul(c, k) t = Relu(m)
  d = Conv<pads=[1,1,1,1]>(t, w) y = Add(d, x) }"""


def _plan(model: ir.Model) -> Plan:
    return plan_operations(model.graph, weighted_only=True)


def _names(plan: Plan) -> set[str]:
    return {str(value.name) for value in plan.quantised}


def test_only_what_weighted_operators_read_is_quantised(build_graph: Build) -> None:
    plan = _plan(build_graph(_GATED, w=_W, k=_GATE))
    assert _names(plan) == {"r", "t"}
    decided = {str(operation.node.name): operation.is_int8 for operation in plan.operations}
    assert decided == {"s/Conv": False, "c/Conv": True, "m/Mul": False, "d/Conv": True, "y/Add": False}


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


def test_the_symmetric_graph_computes_nearly_what_the_float_one_does(build_graph: Build) -> None:
    model = build_graph(_GATED, w=_W, k=_GATE)
    samples = [{"x": _RNG.normal(0, 1, (1, 2, 6, 6)).astype(np.float32)} for _ in range(4)]
    tensors = observed_tensors(model, weighted_only=True)
    assert tensors == ["r", "t"]
    result = quantize(
        model,
        collect_statistics(model, samples, tensors=tensors),
        samples,
        scheme=QuantisationScheme("symmetric", ranges="minmax"),
    )
    validate_qdq(result.model, symmetric=True)
    for sample in samples:
        expected, found = (run_reference(m, sample)["y"] for m in (model, result.model))
        assert 10 * np.log10(np.sum(expected**2) / np.sum((found - expected) ** 2)) > 35
