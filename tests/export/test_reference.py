from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import quantize
from edgeconv.export.reference import ReferenceRunner, run_reference, split_operators

_RNG = np.random.default_rng(0)
_GRAPH = """g (float[1,4,8,8] x, float[4,4,3,3] w, float[1,4,8,8] k) => (float[1,8,4,4] y, float[1,4,8,8] c) {
    c = Conv<pads=[1,1,1,1]>(x, w)  r = Relu(c)  m = Mul(r, k)  n = Relu(m)
    a = Abs(m)  d = Sqrt(a)  e = Concat<axis=1>(n, d)
    y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)
}"""


@pytest.fixture(scope="module")
def qdq(build_graph: Callable[..., ir.Model]) -> ir.Model:
    model = build_graph(
        _GRAPH,
        w=_RNG.normal(size=(4, 4, 3, 3)).astype(np.float32),
        k=_RNG.uniform(0, 2, size=(1, 4, 8, 8)).astype(np.float32),
    )
    samples = [_sample(i) for i in range(3)]
    return quantize(model, collect_statistics(model, samples), samples).model


def _sample(seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(1, 4, 8, 8)).astype(np.float32)}


def test_taps_return_the_integers_behind_a_quantiser(qdq: ir.Model) -> None:
    found = run_reference(qdq, _sample(9), taps=["x_q", "m_q", "y_q", "y"])
    assert set(found) == {"y", "c", "x_q", "m_q", "y_q"}
    assert found["m_q"].dtype == np.int8
    initializers = qdq.graph.initializers
    scale, zero = (initializers[f"x_{part}"].const_value.numpy() for part in ("scale", "zero_point"))
    expected = np.clip(np.rint(_sample(9)["x"] / scale) + zero, -128, 127)
    assert np.array_equal(found["x_q"], expected)
    assert [value.name for value in qdq.graph.outputs] == ["y", "c"]


def test_a_tensor_that_is_not_there_cannot_be_tapped(qdq: ir.Model) -> None:
    with pytest.raises(ExportError, match="'nowhere'"):
        ReferenceRunner(qdq, ["nowhere"])


def test_operators_one_by_one_compute_the_integers_of_the_whole_graph(qdq: ir.Model) -> None:
    cases = split_operators(qdq)
    names = sorted({name for case in cases for name in (*case.inputs, *case.outputs)} - {"x"})
    known = {**_sample(9), **run_reference(qdq, _sample(9), taps=names)}
    for case in cases:
        found = run_reference(case.model, {name: known[name] for name in case.inputs})
        for name in case.outputs:
            assert np.array_equal(found[name], known[name]), (case.name, name)


def test_every_operator_is_in_one_case_with_its_activation(qdq: ir.Model) -> None:
    cases = split_operators(qdq)
    assert [case.operator for case in cases] == [
        *("QuantizeLinear", "Conv", "Relu", "Mul", "Relu", "Abs", "Sqrt", "Concat", "MaxPool")
    ]
    convolution, concat = cases[1], cases[7]
    assert (convolution.inputs, convolution.outputs) == (("x_q",), ("c_q",))
    assert concat.inputs == ("n_q", "d_q")
    assert [node.op_type for node in convolution.model.graph].count("Conv") == 1


def test_cases_carry_integers_except_at_the_border_of_a_float_island(qdq: ir.Model) -> None:
    dtypes = {
        case.name: [value.dtype for value in (*case.model.graph.inputs, *case.model.graph.outputs)]
        for case in split_operators(qdq)
    }
    integers, floats = ir.DataType.INT8, ir.DataType.FLOAT
    assert dtypes["e/Concat"] == [integers] * 3
    assert dtypes["a/Abs"] == [integers, floats]
    assert dtypes["d/Sqrt"] == [floats, integers]
