"""Graphs lowered to files of several runtimes, named as a bundle names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeconv.export.jobs import ASYMMETRIC, ConversionJob, ConversionKey
from edgeconv.export.lowering import Lowered, lower
from edgeconv.files import sha256_file
from edgeconv.graph import load_graph
from edgeconv.manifest import Failure

FP32, INT8 = ConversionKey("onnxruntime", "fp32"), ConversionKey("onnxruntime", "int8")
UINT8, OPENVINO = INT8._replace(activations="uint8"), ConversionKey("openvino", "int8")


def test_every_artefact_lies_where_it_is_said_to(tiny: Any, tmp_path: Path) -> None:
    fp32, int8 = (load_graph(tiny.directory / f"model.{precision}.onnx") for precision in ("fp32", "int8"))
    done: list[ConversionJob] = []
    keys = [FP32, INT8, UINT8, OPENVINO, INT8]
    lowered = lower(fp32, {ASYMMETRIC: int8}, keys, tmp_path, progress=done.append)
    assert list(lowered) == [FP32, INT8, UINT8, OPENVINO]
    assert len(done) == 4
    for outcome in lowered.values():
        assert isinstance(outcome, Lowered)
        assert list(outcome.files) == outcome.artifact.paths
        assert outcome.artifact.path.startswith("models/")
        assert sha256_file(outcome.files[outcome.artifact.path]) == outcome.artifact.sha256
    one, other = lowered[INT8], lowered[UINT8]
    assert isinstance(one, Lowered)
    assert isinstance(other, Lowered)
    assert one.artifact.sha256 != other.artifact.sha256


def test_a_scheme_without_a_graph_fails_with_its_reason(tiny: Any, tmp_path: Path) -> None:
    symmetric = INT8._replace(scheme="symmetric")
    fp32 = load_graph(tiny.directory / "model.fp32.onnx")
    lowered = lower(fp32, {}, [symmetric, FP32], tmp_path, no_int8={"symmetric": "no calibration data"})
    assert lowered[symmetric] == Failure("onnxruntime", "int8", "no calibration data")
    assert isinstance(lowered[FP32], Lowered)


def test_a_runtime_that_refuses_does_not_stop_the_others(tiny: Any, tmp_path: Path) -> None:
    broken = load_graph(tiny.directory / "model.fp32.onnx")
    next(iter(broken.graph)).op_type = "NoSuchOperator"
    lowered = lower(broken, {}, [ConversionKey("openvino", "fp32"), FP32], tmp_path)
    assert isinstance(lowered[ConversionKey("openvino", "fp32")], Failure)
    assert isinstance(lowered[FP32], Lowered)


@pytest.mark.parametrize("runtime", ["litert", "openvino"])
def test_nothing_but_what_is_asked_for_is_made(tiny: Any, tmp_path: Path, runtime: str) -> None:
    int8 = load_graph(tiny.directory / "model.int8.onnx")
    assert list(lower(None, {ASYMMETRIC: int8}, [ConversionKey(runtime, "int8")], tmp_path)) == [
        ConversionKey(runtime, "int8")
    ]
