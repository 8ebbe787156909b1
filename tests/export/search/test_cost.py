from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.search.cost import estimate_latency_ms
from edgeconv.rewrite import MergePairs, factor_pairs, run_rewrites


def test_arithmetic_and_traffic_add_up(build_graph: Callable[..., ir.Model]) -> None:
    model = build_graph(
        "g (float[1,4,50,50] x, float[8,4,1,1] w) => (float[1,8,50,50] y) { c = Conv(x, w) y = Relu(c) }",
        w=np.ones((8, 4, 1, 1), np.float32),
    )
    macs, elements = 8 * 4 * 2500, (4 + 8) * 2500 + 8 * 4  # the Relu runs in the convolution
    assert estimate_latency_ms(model) == pytest.approx(macs / 440e6 + elements / 12.5e6)


def test_what_stays_in_float_costs_four_times_as_much(build_graph: Callable[..., ir.Model]) -> None:
    text = "g (float[1,4,50,50] x) => (float[1,4,50,50] y) {{ y = {}(x) }}"
    int8, floats = (estimate_latency_ms(build_graph(text.format(name))) for name in ("Relu", "Sin"))
    assert floats == pytest.approx(4 * int8)


def test_merging_saves_traffic_and_costs_arithmetic(traced: Callable[[], ir.Model]) -> None:
    model = traced()
    before = estimate_latency_ms(model)
    pair = next(pair for pair in factor_pairs(model.graph) if pair.name == "q/Conv")
    macs, pixels = pair.merged_macs - pair.macs, 24 * 32
    weights = 8 * 8 * 9 - (4 * 8 * 3 + 8 * 4 * 3)
    run_rewrites(model, [MergePairs(["q/Conv"])])
    expected = before + macs / 440e6 + (weights - 2 * 4 * pixels) / 12.5e6
    assert estimate_latency_ms(model) == pytest.approx(expected)
