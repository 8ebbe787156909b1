"""Layer by layer of a bundle whose gate is computed from constants, in a file where that is spelled out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundles import load_bundle
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.graph import save_graph
from edgeconv.parity.drift import measure_layers

SIZE = 64  # a smaller map is not reduced


@pytest.mark.parametrize("gates", ["expression", "reduced"])
def test_a_gate_in_another_form_is_a_layer_like_any_other(
    build_graph: Callable[..., ir.Model], tmp_path: Path, gates: str
) -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    maps = np.stack([1.2 + np.cos(2 * x + k) * np.sin(2 * y + k) + 0.2 * np.exp(-3 * (x - y) ** 2) for k in range(8)])
    graph = build_graph(
        f"g (float[1,3,{SIZE},{SIZE}] x, float[8,3,3,3] w, float[1,8,{SIZE},{SIZE}] k, float[2,8,1,1] v)"
        f" => (float[1,2,{SIZE},{SIZE}] y)"
        " { c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) m = Mul(r, k) y = Conv(m, v) }",
        w=rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        k=maps.astype(np.float32)[None],
        v=rng.normal(0, 0.3, (2, 8, 1, 1)).astype(np.float32),
    )
    save_graph(graph, tmp_path / "net.onnx")
    np.save(tmp_path / "data.npy", rng.normal(size=(8, 3, SIZE, SIZE)).astype(np.float32))
    options = ExportOptions(
        model=str(tmp_path / "net.onnx"),
        calibration=str(tmp_path / "data.npy"),
        runtimes=("onnxruntime",),
        gates=gates,
        gate_rank=2 if gates == "expression" else None,
        golden_count=2,
        output=tmp_path,
    )
    bundle = load_bundle(Path(build_bundle(options).bundles[0].path))
    assert "compress_gates" in [rewrite.name for rewrite in bundle.manifest.rewrites]
    report = measure_layers(bundle, case=0)
    (gate,) = [layer for layer in report.layers if layer.operator == "Mul"]
    assert gate.at_output.weights_db is not None  # rounding the map is an error of its own
    assert gate.on_target[0].max_steps is not None
    assert gate.on_target[0].max_steps <= 1
