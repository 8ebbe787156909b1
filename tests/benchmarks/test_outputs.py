from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeconv.benchmarks.outputs import MAX_CASES, outputs_path, read_outputs, write_outputs
from edgeconv.benchmarks.run import RunSettings, run_benchmark
from edgeconv.bundles import load_bundle
from edgeconv.errors import RecordError
from edgeconv.records import Host, RunRecord

_HOST = Host("x86_64", "Linux", None, [], 1, None, None, "3.11", False, "wall")
_RECORD = RunRecord(2, "run-1", "2026-11-20", "0.1.0", "local:", "b", "0" * 64, "m", "host", _HOST, [])


def test_first_cases_come_back_by_artefact_and_port(tmp_path: Path) -> None:
    path = outputs_path(tmp_path / "run.json")
    mask = np.arange(5 * 2, dtype=np.float32).reshape(5, 2)
    write_outputs(path, "run-1", {("litert", "int8"): {"mask": mask, "a/b": mask}, ("openvino", "fp32"): {}})
    found = read_outputs(path, _RECORD)
    assert path.name == "run.outputs.npz"
    assert list(found) == [("litert", "int8")]
    assert sorted(found["litert", "int8"]) == ["a/b", "mask"]
    np.testing.assert_array_equal(found["litert", "int8"]["mask"], mask[:MAX_CASES])


def test_outputs_of_another_run_are_refused(tmp_path: Path) -> None:
    write_outputs(tmp_path / "o.npz", "run-1", {})
    with pytest.raises(RecordError, match="outputs of run run-1, the record is of run-2"):
        read_outputs(tmp_path / "o.npz", dataclasses.replace(_RECORD, run_id="run-2"))


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.npz"
    write_outputs(path, "run-1", {("litert", "int8"): {"mask": np.zeros((3, 40))}})
    whole = path.read_bytes()
    np.savez(tmp_path / "foreign.npz", x=np.zeros(3))
    for content in (whole[:-30], b"", b"PK", (tmp_path / "foreign.npz").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(RecordError, match=r"o\.npz cannot be read"):
            read_outputs(path, _RECORD)


def test_benchmark_gives_out_what_the_runtime_returned(tiny_bundle: Path) -> None:
    kept: dict[tuple[str, str], Mapping[str, npt.NDArray[Any]]] = {}
    bundle = load_bundle(tiny_bundle)
    run_benchmark(bundle, runtimes=["onnxruntime"], precisions=["fp32"], settings=RunSettings.quick(), keep=kept.update)
    assert list(kept) == [("onnxruntime", "fp32")]
    with np.load(bundle.golden) as golden:
        for port, array in kept["onnxruntime", "fp32"].items():
            np.testing.assert_allclose(array, golden[f"torch.{port}"], atol=1e-3)
