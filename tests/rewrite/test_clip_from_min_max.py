from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.rewrite import ClipFromMinMax, FoldConstants, RewriteReport, run_rewrites

Build = Callable[..., ir.Model]
Operators = Callable[[ir.Model], list[str]]

TEXT = """g (float[1,2,3] x, float a, float b, float[2,1] c) => (float[1,2,3] y) {{ {body} }}"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("m = Max(x, a) y = Min(m, b)", ["Clip"]),
        ("m = Max(a, x) y = Min(b, m)", ["Clip"]),
        ("y = Max(x, a)", ["Clip"]),
        ("z = Sub(a, a) y = Max(x, z)", ["Relu"]),
        ("z = Sub(a, a) m = Max(x, z) y = Min(m, b)", ["Clip"]),
        ("m = Max(x, b) y = Min(m, a)", ["Clip", "Min"]),  # the lower bound is above the upper one
        ("m = Max(x, a) n = Min(m, b) y = Add(m, n)", ["Clip", "Min", "Add"]),
        ("y = Max(x, c)", ["Max"]),
        ("y = Max(x, a, b)", ["Max"]),
        ("y = Min(x, a)", ["Min"]),
    ],
)
def test_clamps_become_activations(build_graph: Build, operators: Operators, body: str, expected: list[str]) -> None:
    model = build_graph(
        TEXT.format(body=body),
        a=np.array(-0.5, np.float32),
        b=np.array(0.75, np.float32),
        c=np.array([[0.1], [0.2]], np.float32),
    )
    reports: list[RewriteReport] = run_rewrites(model, [FoldConstants(), ClipFromMinMax()])
    assert all(report.kept for report in reports)
    assert operators(model) == expected
