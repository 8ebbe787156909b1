from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeconv.export.mixed.candidates import effective, find_candidates

Build = Callable[..., ir.Model]

_NET = """g (float[1,4,8,8] x, float[4,4,1,1] w1, float[4,4,1,1] w2, float[2,8,1,1] w3) => (float[1,2,8,8] y)
{ a = Conv(x, w1) ar = Relu(a) p = MaxPool<kernel_shape = [1,1]>(ar) b = Conv(p, w2) c = Concat<axis = 1>(b, ar)
y = Conv(c, w3) }"""


def _net(build: Build) -> ir.Model:
    return build(
        _NET,
        w1=np.ones((4, 4, 1, 1), np.float32),
        w2=np.ones((4, 4, 1, 1), np.float32),
        w3=np.ones((2, 8, 1, 1), np.float32),
    )


def test_operators_with_weights_tensors_concats_and_the_head(build_graph: Build) -> None:
    found = {candidate.operators: candidate.kind for candidate in find_candidates(_net(build_graph))}
    assert found == {
        ("a/Conv",): "operator",
        ("b/Conv",): "operator",
        ("y/Conv",): "operator",
        ("a/Conv", "p/MaxPool", "c/Concat"): "tensor",  # whatever reads `ar`
        ("p/MaxPool", "b/Conv"): "tensor",
        ("b/Conv", "c/Concat"): "tensor",
        ("c/Concat", "y/Conv"): "tensor",
        ("a/Conv", "b/Conv", "c/Concat", "y/Conv"): "concat",
        ("b/Conv", "c/Concat", "y/Conv"): "head",
    }
    assert [c.kind for c in find_candidates(_net(build_graph))][:3] == ["operator"] * 3


def test_what_is_float_already_is_no_candidate(build_graph: Build) -> None:
    for candidate in find_candidates(_net(build_graph), ["b/Conv"]):
        assert "b/Conv" not in candidate.operators


def test_an_operator_without_weights_between_integers_is_not_in_float(build_graph: Build) -> None:
    model = _net(build_graph)
    assert effective(model, ["c/Concat"]) == set()
    assert effective(model, ["p/MaxPool", "c/Concat"]) == set()
    assert effective(model, ["b/Conv", "c/Concat"]) == {"b/Conv", "c/Concat"}
    assert effective(model, ["p/MaxPool", "b/Conv", "y/Conv"]) == {"p/MaxPool", "b/Conv", "y/Conv"}
    assert effective(model, ["y/Conv"]) == {"y/Conv"}
    assert effective(model, []) == set()
