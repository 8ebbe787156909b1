"""What is said about folded gates: when, and that the figures are those of the files."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from edgeconv.export.gate_prices import GatePrices, folds_constants, gate_maps, with_gate_prices
from edgeconv.manifest import GATES_FACT, Artifact
from edgeconv.rewrite import CompressGates, run_rewrites
from edgeconv.rewrite.compress_gates import compressed

NETWORK = """g (float[1,4,64,64] x, float[1,4,64,64] gate, float[{out},4,1,1] w) => (float[1,{out},64,64] y)
{{ p = Mul(x, gate) y = Conv(p, w) }}"""


@pytest.fixture
def network(build_graph):
    def make(out=2):
        y, x = np.mgrid[0:64, 0:64] / 64
        gate = np.stack([np.maximum(np.cos(2 * x + k) * np.sin(3 * y + k) + x * y, 0) for k in range(4)])[None]
        return build_graph(NETWORK.format(out=out), gate=gate.astype(np.float32), w=np.ones((out, 4, 1, 1), np.float32))

    return make


def artifact(runtime, precision, size=100_000):
    return Artifact(f"models/m.{runtime}", "0" * 64, size, runtime, precision, [], [], facts={"transposes": "0"})


def test_folded_maps_cost_what_the_file_holds(network):
    graph = network().graph
    prices = GatePrices(graph, 4)
    for precision, width in (("int8", 1), ("fp16", 2), ("fp32", 4)):
        folded = prices.stored("folded", precision)
        assert (folded.bytes, folded.sqnr_db) == (4 * 64 * 64 * width, None)
    (values,) = gate_maps(graph).values()
    assert prices.stored("folded", "fp32").packed_bytes == len(zlib.compress(values.astype(np.float32).tobytes(), 6))


def test_interleaved_channels_are_as_large_and_pack_worse(network):
    prices = GatePrices(network().graph, 4)
    planar, interleaved = (prices.stored("folded", "int8", channels_last=last) for last in (False, True))
    assert planar.bytes == interleaved.bytes
    assert planar.packed_bytes < interleaved.packed_bytes


def test_other_forms_cost_what_the_rewrite_stores(network):
    prices = GatePrices(network().graph, 2)
    (values,) = gate_maps(network().graph).values()
    expression, reduced = (prices.stored(form, "int8") for form in ("expression", "reduced"))
    assert expression.bytes == 4 * 2 * (64 + 64) * 2
    assert reduced.bytes == 4 * 16 * 16
    assert prices.stored("reduced", "fp32").bytes == 4 * reduced.bytes
    assert expression.sqnr_db == compressed(values, "expression", 2).sqnr_db
    model = network()
    (report,) = run_rewrites(model, [CompressGates("reduced")])
    assert f"{reduced.sqnr_db:.1f} dB" in report.details[0]


def test_what_gates_cost_is_said_with_the_alternatives(network):
    prices = GatePrices(network().graph, 2)
    ort, litert = with_gate_prices([artifact("onnxruntime", "int8"), artifact("litert", "int8")], prices)
    for one in (ort, litert):
        assert one.facts["transposes"] == "0"
        assert "0.02 of 0.10 MB are folded gate maps" in one.facts[GATES_FACT]
        assert "--gates reduced: about 0.08 MB" in one.facts[GATES_FACT]
        assert "latency not measured: edgeconv tune" in one.facts[GATES_FACT]
    assert "--gates expression" in ort.facts[GATES_FACT]
    assert "--gates expression" not in litert.facts[GATES_FACT]  # it would hold the full map
    assert [folds_constants(name) for name in ("onnxruntime", "openvino", "litert")] == [True, True, False]


def test_nothing_is_said_where_the_weights_are_more(network):
    given = [artifact("onnxruntime", "int8")]
    assert with_gate_prices(given, GatePrices(network(out=4096 + 1).graph, 2)) == given


def test_nothing_is_said_of_gates_in_another_form(network):
    model = network()
    run_rewrites(model, [CompressGates("expression")])
    given = [artifact("onnxruntime", "fp32")]
    assert with_gate_prices(given, GatePrices(model.graph, 4)) == given
