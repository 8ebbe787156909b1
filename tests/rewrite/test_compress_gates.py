"""Gate maps in fewer bytes: what they make, how near that is, and that runtimes fold it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import UsageError
from edgeconv.export.simplify import simplify
from edgeconv.graph import computed_constants, constant_value, to_bytes
from edgeconv.rewrite import CompressGates, FoldConstants, run_rewrites
from edgeconv.rewrite._evaluate import evaluate
from edgeconv.rewrite.compress_gates import compressed
from edgeconv.rewrite.normalise_gates import gate_of

GATED = """g (float[1,4,{h},{w}] x, float[{gate}] gate, float[2,4,1,1] k) => (float[1,2,{h},{w}] y)
{{ p = Mul({operands}) y = Conv(p, k) }}"""


def waves(height, width, terms=6):
    """Four smooth maps of several separable terms each, in 0…1, zero in places."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    maps = [
        sum(np.cos((t + 1) * x + k) * np.sin((t + 2) * y + t * k) / (t + 1) for t in range(terms)) for k in range(4)
    ]
    return np.clip(np.stack(maps), 0, None) / np.max(maps)


@pytest.fixture
def gated(build_graph, normal):
    def make(gate, operands="x, gate"):
        height, width = gate.shape[-2:]
        shape = ",".join(map(str, gate.shape))
        text = GATED.format(h=height, w=width, gate=shape, operands=operands)
        return build_graph(text, gate=gate.astype(np.float32), k=normal(2, 4, 1, 1))

    return make


@pytest.mark.parametrize(
    ("form", "operators"), [("expression", ["Cast", "Cast", "MatMul", "Clip"]), ("reduced", ["Resize"])]
)
def test_the_graph_makes_the_map_that_was_promised(gated, form, operators):
    gate = waves(64, 96)
    model = gated(gate[None])
    (report,) = run_rewrites(model, [CompressGates(form)])
    assert (report.changed, report.kept, report.equivalence) == (1, True, "approximated")
    assert [node.op_type for node in model.graph] == [*operators, "Mul", "Conv"]
    (made,) = computed_constants(model.graph) & set(next(n for n in model.graph if n.op_type == "Mul").inputs)
    promised = compressed(gate.astype(np.float32).astype(np.float64), form, 4)
    made.name = "map"
    model.graph.outputs.append(made)
    found = evaluate(model, [{"x": np.zeros((1, 4, 64, 96), np.float32)}])[0]["map"]
    np.testing.assert_allclose(found[0], promised.values, atol=2e-6)
    assert f"{promised.sqnr_db:.1f} dB" in report.details[0]


@pytest.mark.parametrize("form", ["expression", "reduced"])
def test_the_error_is_that_of_the_map(form):
    gate = waves(64, 64)
    found = compressed(gate, form, 2)
    error = np.square(found.values - gate).sum()
    assert found.sqnr_db == pytest.approx(10 * np.log10(np.square(gate).sum() / error))


def test_more_terms_are_nearer_and_larger():
    one, four = (compressed(waves(96, 96), "expression", rank) for rank in (1, 4))
    assert four.sqnr_db > one.sqnr_db + 6
    assert four.stored_values == 4 * one.stored_values


def test_terms_as_many_as_the_map_has_leave_rounding_of_float16_alone():
    rows, columns = np.linspace(0, 1, 64), np.linspace(1, 2, 64)
    separable = np.broadcast_to(np.outer(rows, columns), (4, 64, 64)).copy()
    assert compressed(separable, "expression", 1).sqnr_db > 60


def test_no_value_leaves_the_range_of_the_map():
    gate = (waves(64, 64) > 0.3).astype(float)  # a hard edge makes every form ring
    for form in ("expression", "reduced"):
        values = compressed(gate, form, 2).values
        assert values.min() >= 0
        assert values.max() <= 1


def test_a_linear_ramp_survives_a_quarter_of_the_resolution():
    ramp = np.broadcast_to(np.arange(64)[:, None] + np.arange(128), (4, 64, 128)).astype(float)
    assert compressed(ramp, "reduced", 1).sqnr_db > 50


@pytest.mark.parametrize(("form", "shape"), [("reduced", (63, 128)), ("expression", (8, 8))])
def test_a_map_that_would_save_too_little_stays(gated, form, shape):
    model = gated(waves(*shape)[None])
    assert run_rewrites(model, [CompressGates(form)])[0].changed == 0


def test_one_map_for_all_channels_is_stored_once(build_graph, normal):
    text = GATED.format(h=64, w=64, gate="1,1,64,64", operands="x, gate")
    model = build_graph(text, gate=waves(64, 64)[None, :1].astype(np.float32), k=normal(2, 4, 1, 1))
    (report,) = run_rewrites(model, [CompressGates("expression", 2)])
    assert (report.changed, report.kept) == (1, True)
    assert "256 of 4096 values" in report.details[0]


def test_a_factor_for_each_channel_is_no_map(build_graph, normal):
    text = GATED.format(h=64, w=64, gate="1,4,1,1", operands="x, gate")
    model = build_graph(text, gate=normal(1, 4, 1, 1), k=normal(2, 4, 1, 1))
    assert run_rewrites(model, [CompressGates("expression")])[0].changed == 0


def test_the_gate_may_be_the_first_operand(gated):
    model = gated(waves(64, 64)[None], "gate, x")
    assert run_rewrites(model, [CompressGates("reduced")])[0].sqnr_db > 20


def test_the_old_map_is_gone_from_the_file(gated):
    model = gated(waves(96, 96)[None])
    before = len(to_bytes(model))
    run_rewrites(model, [CompressGates("expression")])
    assert len(to_bytes(model)) < 0.1 * before


def test_folding_the_constants_makes_maps_again(gated):
    model = gated(waves(64, 64)[None])
    run_rewrites(model, [CompressGates("expression")])
    folded = simplify(model)
    run_rewrites(model, [FoldConstants()])
    for graph in (model.graph, folded.graph):
        (gate,) = [found for found in map(gate_of, graph) if found is not None]
        assert gate[1].shape == (4, 64, 64)


@pytest.mark.parametrize(("form", "rank", "words"), [("rank", 4, "No form of gates"), ("expression", 0, "rank 0")])
def test_what_means_nothing_is_refused(form, rank, words):
    with pytest.raises(UsageError, match=words):
        CompressGates(form, rank)


def test_constants_that_are_read_by_nothing_else_are_kept(gated):
    model = gated(waves(64, 64)[None])
    gate = model.graph.initializers["gate"]
    other = ir.node("Identity", [gate], outputs=[ir.Value(name="z", type=gate.type, shape=gate.shape)])
    model.graph.append(other)
    model.graph.outputs.append(other.outputs[0])
    run_rewrites(model, [CompressGates("reduced")])
    assert constant_value(model.graph.initializers["gate"]) is not None
