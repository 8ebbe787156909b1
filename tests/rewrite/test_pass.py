from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.graph import to_bytes
from edgeconv.rewrite import Equivalence, FoldBatchNorm, FoldConstants, RewriteResult, run_rewrites
from edgeconv.rewrite._edit import AffineLayer

Build = Callable[..., ir.Model]
Normal = Callable[..., np.ndarray]

CONV = "g (float[1,3,6,9] x, float[4,3,3,3] w) => (float[1,4,4,7] y) { y = Conv(x, w) }"


class ScaleWeights:
    """Multiplies the weights of every layer: not the same function unless the factor is 1."""

    name = "scale_weights"

    def __init__(self, factor: float, equivalence: Equivalence = "exact") -> None:
        self.factor = factor
        self.equivalence = equivalence

    def apply(self, model: ir.Model) -> RewriteResult:
        for node in list(model.graph):
            layer = AffineLayer.read(node)
            if layer is not None:
                layer.weight = layer.weight * self.factor
                layer.write()
        return RewriteResult(1, ("scaled",))


class BreakGraph:
    name = "break_graph"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        for node in model.graph:
            node.replace_input_with(1, None)
        return RewriteResult(1)


def test_wrong_rewrite_is_undone_and_reported_with_its_sqnr(build_graph: Build, normal: Normal) -> None:
    model = build_graph(CONV, w=normal(4, 3, 3, 3))
    before = to_bytes(model)
    (report,) = run_rewrites(model, [ScaleWeights(1.1)])
    assert not report.kept
    assert report.sqnr_db == pytest.approx(20.0, abs=1e-3)
    assert report.changed == 1
    assert report.details == ("scaled",)
    assert to_bytes(model) == before


def test_rewrites_after_an_undone_one_see_the_graph_before_it(build_graph: Build, normal: Normal) -> None:
    model = build_graph(
        """g (float[1,3,6,9] x, float[4,3,3,3] w, float[4] s, float[4] b, float[4] m, float[4] v)
        => (float[1,4,4,7] y) { c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) }""",
        w=normal(4, 3, 3, 3),
        s=normal(4),
        b=normal(4),
        m=normal(4),
        v=normal(4) ** 2 + 0.1,
    )
    reports = run_rewrites(model, [ScaleWeights(1.01), FoldBatchNorm()])
    assert [report.kept for report in reports] == [False, True]
    assert reports[1].sqnr_db > 120
    assert [node.op_type for node in model.graph] == ["Conv"]


def _cancelling(build_graph: Build, normal: Normal) -> ir.Model:
    """A difference of two layers that agree in all but 5 parts of a thousand: it enlarges roundings by 46 dB."""
    weights = normal(64, 32)
    return build_graph(
        """g (float[8,64] x, float[64,32] w, float[64,32] v, float[32] s) => (float[8,32] y)
        { a = MatMul(x, w) b = MatMul(x, v) c = Mul(a, s) d = Mul(b, s) y = Sub(c, d) }""",
        w=weights,
        v=weights + np.float32(5e-3) * normal(64, 32),
        s=normal(32) + 2,
    )


def test_a_rewrite_as_exact_as_float32_is_kept_where_the_network_enlarges_roundings(
    build_graph: Build, normal: Normal
) -> None:
    model = _cancelling(build_graph, normal)
    (report,) = run_rewrites(model, [FoldBatchNorm()])
    assert report.changed == 2
    assert 80 < report.sqnr_db < 110
    assert report.kept
    assert report.details[-1].startswith("rounding of float32 alone: ")


def test_a_wrong_rewrite_is_undone_there_as_well(build_graph: Build, normal: Normal) -> None:
    (report,) = run_rewrites(_cancelling(build_graph, normal), [ScaleWeights(1 + 7e-5)])
    assert 80 < report.sqnr_db < 84
    assert not report.kept


def test_rewrite_that_breaks_the_graph_is_undone_and_says_why(build_graph: Build, normal: Normal) -> None:
    model = build_graph(CONV, w=normal(4, 3, 3, 3))
    before = to_bytes(model)
    (report,) = run_rewrites(model, [BreakGraph()])
    assert (report.kept, report.sqnr_db) == (False, -300.0)
    assert report.details
    assert to_bytes(model) == before


def test_result_that_is_not_finite_is_undone_even_when_approximated(build_graph: Build, normal: Normal) -> None:
    model = build_graph(CONV, w=normal(4, 3, 3, 3))
    (report,) = run_rewrites(model, [ScaleWeights(np.inf, "approximated")])
    assert (report.kept, report.sqnr_db) == (False, -300.0)


def test_approximated_rewrite_is_kept_below_the_exact_bound(build_graph: Build, normal: Normal) -> None:
    model = build_graph(CONV, w=normal(4, 3, 3, 3))
    (report,) = run_rewrites(model, [ScaleWeights(1.001, "approximated")])
    assert report.kept
    assert report.sqnr_db == pytest.approx(60.0, abs=1e-2)


def test_unchanged_graph_reports_300_db(build_graph: Build, normal: Normal) -> None:
    model = build_graph(CONV, w=normal(4, 3, 3, 3))
    (report,) = run_rewrites(model, [FoldBatchNorm()])
    assert (report.changed, report.sqnr_db, report.kept) == (0, 300.0, True)


def test_lost_epsilon_is_undone_because_part_of_the_probe_is_zero(build_graph: Build) -> None:
    class DropEpsilon:
        name = "drop_epsilon"
        equivalence: Equivalence = "exact"

        def apply(self, model: ir.Model) -> RewriteResult:
            for node in list(model.graph):
                if node.op_type == "Add":
                    node.outputs[0].replace_all_uses_with(node.inputs[0])
            return RewriteResult(1)

    model = build_graph(
        """g (float[1,1,4,6] x) => (float[1,1,4,6] y)
        { e = Constant<value = float {1e-12}>() r = Relu(x) a = Add(r, e) y = Div(r, a) }"""
    )
    (report,) = run_rewrites(model, [DropEpsilon()])
    assert (report.kept, report.sqnr_db) == (False, -300.0)


def test_real_probes_decide_as_well(build_graph: Build) -> None:
    class DropClip:
        name = "drop_clip"
        equivalence: Equivalence = "exact"

        def apply(self, model: ir.Model) -> RewriteResult:
            for node in list(model.graph):
                if node.op_type == "Clip":
                    node.outputs[0].replace_all_uses_with(node.inputs[0])
            return RewriteResult(1)

    text = """g (float[1,1,4,6] x) => (float[1,1,4,6] y)
    { l = Constant<value = float {-100}>() h = Constant<value = float {100}>() c = Clip(x, l, h) y = Relu(c) }"""
    (unseen,) = run_rewrites(build_graph(text), [DropClip()])
    (seen,) = run_rewrites(build_graph(text), [DropClip()], [{"x": np.full((1, 1, 4, 6), 200, np.float32)}])
    assert unseen.kept
    assert not seen.kept


def test_graph_that_cannot_run_is_an_error() -> None:
    node = ir.node("NoSuchOperator", [ir.val("x", ir.DataType.FLOAT, [1, 2])], domain="nowhere")
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = "y", ir.DataType.FLOAT, ir.Shape([1, 2])
    graph = ir.Graph(node.inputs, node.outputs, nodes=[node], opset_imports={"": 18, "nowhere": 1}, name="g")
    with pytest.raises(ExportError, match="cannot run"):
        run_rewrites(ir.Model(graph, ir_version=10), [FoldConstants()])
