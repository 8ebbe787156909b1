from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.graph import constant_value
from edgeconv.rewrite import MultiplyByReciprocal, run_rewrites

Build = Callable[..., ir.Model]


def _rewritten(model: ir.Model) -> list[str]:
    (report,) = run_rewrites(model, [MultiplyByReciprocal()])
    assert report.kept
    assert report.sqnr_db > 130
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("divisor", [np.float32(2.8284271), np.array([[3.0], [-0.1]], np.float32)])
def test_a_division_by_a_constant_is_a_multiplication(build_graph: Build, divisor: np.ndarray) -> None:
    divisor = np.asarray(divisor)
    shape = f"[{','.join(map(str, divisor.shape))}]" if divisor.ndim else ""
    model = build_graph(
        f"g (float[1,2,4] x, float{shape} c) => (float[1,2,4] y) {{ d = Div(x, c) y = Neg(d) }}", c=divisor
    )
    assert _rewritten(model) == ["Mul", "Neg"]
    factor = constant_value(model.graph[0].inputs[1])
    assert factor is not None
    assert np.allclose(factor * divisor, 1, rtol=1e-6)


def test_a_constant_that_others_read_is_left_to_them(build_graph: Build) -> None:
    model = build_graph(
        "g (float[4] x, float c) => (float[4] y) { d = Div(x, c) y = Add(d, c) }", c=np.array(3, np.float32)
    )
    assert _rewritten(model) == ["Mul", "Add"]


@pytest.mark.parametrize(
    ("body", "constant"),
    [
        ("y = Div(x, x)", np.array(3, np.float32)),
        ("y = Div(c, x)", np.array(3, np.float32)),
        ("d = Div(x, c) y = Erf(d)", np.array(2**0.5, np.float32)),
        ("y = Div(x, c)", np.array(np.inf, np.float32)),
        ("y = Div(x, c)", np.array(1e-39, np.float32)),
    ],
    ids=["two activations", "a constant dividend", "a GELU", "an infinite divisor", "a subnormal divisor"],
)
def test_what_stays_a_division(build_graph: Build, body: str, constant: np.ndarray) -> None:
    model = build_graph(f"g (float[4] x, float c) => (float[4] y) {{ {body} }}", c=constant)
    assert MultiplyByReciprocal().apply(model).changed == 0
    assert "Div" in [node.op_type for node in model.graph]
