from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.graph import constant_value
from edgeconv.rewrite import BoundMasks, run_rewrites

Build = Callable[..., ir.Model]
_HEAD = "g (float[1,3,3] x, float[3,3] m, bool[3,3] c, float k, int64[3] s) => (float[1,3,3] y)"
_MASK = np.triu(np.full((3, 3), 1.0, np.float32), 1)


def _constants(value: float) -> dict[str, np.ndarray]:
    return {
        "m": np.where(_MASK > 0, np.float32(value), np.float32(0)),
        "c": _MASK > 0,
        "k": np.array(value, np.float32),
        "s": np.array([1, 3, 3], np.int64),
    }


@pytest.mark.parametrize("value", [-np.inf, np.finfo(np.float32).min])
@pytest.mark.parametrize(
    "body", ["a = Add(x, m) y = Softmax(a)", "a = Where(c, k, x) b = Reshape(a, s) y = Softmax(b)"]
)
def test_what_takes_scores_out_is_finite_and_takes_them_out_the_same(
    build_graph: Build, body: str, value: float
) -> None:
    model = build_graph(f"{_HEAD} {{ {body} }}", **_constants(value))
    (report,) = run_rewrites(model, [BoundMasks()])
    assert (report.kept, report.changed) == (True, 1)
    assert report.sqnr_db == 300  # the same bits
    found = [constant_value(v) for n in model.graph for v in n.inputs if v is not None]
    assert min(float(a.min()) for a in found if a is not None and a.dtype == np.float32) == -1e4


@pytest.mark.parametrize(
    ("body", "operators"),
    [
        ("a = Where(c, k, x) b = Reshape(a, s) y = Softmax(b)", ["Add", "Reshape", "Softmax"]),
        ("a = Where(c, x, k) y = Softmax(a)", ["Add", "Softmax"]),
        ("a = Where(c, x, m) y = Softmax(a)", ["Where", "Softmax"]),  # m has zeros to be taken as they are
        ("a = Where(c, x, k) b = Softmax(a) y = Add(a, b)", ["Where", "Softmax", "Add"]),
    ],
)
def test_a_constant_choice_of_what_masks_is_a_sum(build_graph: Build, body: str, operators: list[str]) -> None:
    model = build_graph(f"{_HEAD} {{ {body} }}", **_constants(-np.inf))
    BoundMasks().apply(model)
    assert [node.op_type for node in model.graph] == operators


@pytest.mark.parametrize("body", ["y = Add(x, m)", "a = Add(x, m) y = Sigmoid(a)"])
def test_other_constants_are_left(build_graph: Build, body: str) -> None:
    model = build_graph(f"{_HEAD} {{ {body} }}", **_constants(-1e30))
    assert BoundMasks().apply(model).changed == 0


def test_a_mask_that_is_bounded_is_left(build_graph: Build) -> None:
    model = build_graph(f"{_HEAD} {{ a = Add(x, m) y = Softmax(a) }}", **_constants(-100.0))
    assert BoundMasks().apply(model).changed == 0
