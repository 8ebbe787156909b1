"""Bundles of several devices at once: each gets the graphs of its own targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundles import Bundle, load_bundle
from edgeconv.errors import ExportError
from edgeconv.export.options import ExportOptions, ExportResult
from edgeconv.export.pipeline import build_bundle
from edgeconv.graph import save_graph

_PROFILE = """name = "{name}"
description = "a board"
machine = "aarch64"
threads = 1
onnx_activations = "int8"
targets = [{targets}]
"""
_TENSORRT = '{ runtime = "tensorrt", precision = "int8", quantisation = "symmetric" }'
_ONNX = '{ runtime = "onnxruntime", precision = "int8" }'


@pytest.fixture
def model(build_graph: Callable[..., ir.Model], tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    graph = build_graph(
        "g (float[1,2,8,8] x, float[4,2,3,3] w, float[2,4,3,3] v) => (float[1,2,8,8] y)"
        " { a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v) }",
        w=rng.normal(0, 0.3, (4, 2, 3, 3)).astype(np.float32),
        v=rng.normal(0, 0.3, (2, 4, 3, 3)).astype(np.float32),
    )
    save_graph(graph, tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=rng.normal(0, 1, (6, 1, 2, 8, 8)).astype(np.float32))
    return tmp_path / "model.onnx"


def _export(model: Path, *, calibrated: bool = True, **devices: str) -> ExportResult:
    folder = model.parent
    for name, targets in devices.items():
        (folder / f"{name}.toml").write_text(_PROFILE.format(name=name, targets=targets), encoding="utf-8")
    data = str(folder / "data.npz")
    return build_bundle(
        ExportOptions(
            str(model),
            devices=tuple(str(folder / f"{name}.toml") for name in devices),
            calibration=data if calibrated else None,
            evaluation=data,
            output=folder / "bundles",
        )
    )


def _bundles(result: ExportResult) -> list[Bundle]:
    return [load_bundle(Path(built.path)) for built in result.bundles]


def test_only_a_device_that_asks_gets_the_symmetric_graph(model: Path) -> None:
    jetson, board = _bundles(_export(model, jetson=f"{_TENSORRT}, {_ONNX}", board=_ONNX))
    references = {(a.runtime, a.precision): a.reference for a in jetson.manifest.artifacts}
    assert references == {("tensorrt", "int8"): "qdq-symmetric", ("onnxruntime", "int8"): "qdq"}
    with np.load(jetson.golden) as golden:
        assert {"qdq.y", "qdq-symmetric.y"} <= set(golden.files)
        assert not np.array_equal(golden["qdq.y"], golden["qdq-symmetric.y"])
    with np.load(board.golden) as golden:
        assert "qdq.y" in golden.files
        assert "qdq-symmetric.y" not in golden.files
    assert jetson.manifest.quantisation["activations"] == "asymmetric, symmetric"
    assert board.manifest.quantisation["activations"] == "asymmetric"


def test_a_tensorrt_artefact_that_cannot_be_made_is_a_row(model: Path) -> None:
    asymmetric = _TENSORRT.replace(', quantisation = "symmetric"', "")
    (jetson,) = _bundles(_export(model, jetson=f"{asymmetric}, {_ONNX}"))
    (failure,) = jetson.manifest.failures
    assert (failure.runtime, failure.precision) == ("tensorrt", "int8")
    assert 'quantisation = "symmetric"' in failure.reason


def test_without_calibration_no_scheme_is_made(model: Path) -> None:
    fp16 = '{ runtime = "tensorrt", precision = "fp16" }'
    (jetson,) = _bundles(_export(model, calibrated=False, jetson=f"{_TENSORRT}, {_ONNX}, {fp16}"))
    assert [a.precision for a in jetson.manifest.artifacts] == ["fp16"]
    assert all("--calibration" in failure.reason for failure in jetson.manifest.failures)
    with pytest.raises(ExportError, match="Nothing could be made"):
        _export(model, calibrated=False, other=_TENSORRT)
