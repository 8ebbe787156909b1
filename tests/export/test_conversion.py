from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeconv.export import conversion
from edgeconv.export.conversion import convert_all, run_job
from edgeconv.export.jobs import ConversionJob, ConversionKey
from edgeconv.files import sha256_file
from edgeconv.manifest import Artifact, Failure

KINDS = [("onnxruntime", "fp32"), ("litert", "fp32"), ("openvino", "fp16")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return _save(tmp_path / "m.onnx", "y = Relu(x)")


def _save(path: Path, body: str) -> Path:
    text = f'<ir_version: 10, opset_import: ["" : 18]> g (float[1,2,4,4] x) => (float[1,2,4,4] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = f"layer/{node.op_type}"
    onnx.save(model, path)
    return path


def _job(source: Path, runtime: str, precision: str) -> ConversionJob:
    return ConversionJob(runtime, precision, str(source), str(source.parent))


def test_every_converter_works_in_a_process_of_its_own(source: Path) -> None:
    seen: list[str] = []
    outcomes = convert_all([_job(source, *kind) for kind in KINDS], lambda job, _: seen.append(job.runtime))
    assert sorted(seen) == ["litert", "onnxruntime", "openvino"]
    for artifact in outcomes.values():
        assert isinstance(artifact, Artifact), artifact
        assert artifact.sha256 == sha256_file(source.parent / artifact.path)


def test_a_module_of_the_users_working_directory_is_not_taken_for_a_package(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise RuntimeError('my own script')\n")
    monkeypatch.chdir(tmp_path)
    (outcome,) = convert_all([_job(source, *KINDS[0])], lambda *_: None).values()
    assert isinstance(outcome, Artifact), outcome


def test_a_refusing_converter_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    source = _save(tmp_path / "m.onnx", "y = Sin(x)")
    outcomes = convert_all([_job(source, "litert", "fp32"), _job(source, "openvino", "fp32")], lambda *_: None)
    failure = outcomes[ConversionKey("litert", "fp32")]
    assert isinstance(failure, Failure)
    assert "Sin" in failure.reason
    assert "layer/Sin" in failure.reason
    assert isinstance(outcomes[ConversionKey("openvino", "fp32")], Artifact)


def test_a_file_that_is_no_model_is_a_failure_in_every_converter(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(b"not a model")
    for outcome in convert_all([_job(source, *kind) for kind in KINDS], lambda *_: None).values():
        assert isinstance(outcome, Failure)
        assert outcome.reason


def test_a_converter_that_hangs_is_ended(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_TIMEOUT_S", 0.05)
    (outcome,) = convert_all([_job(source, "openvino", "fp32")], lambda *_: None).values()
    assert isinstance(outcome, Failure)
    assert "longer" in outcome.reason


def test_the_same_job_gives_the_same_bytes(source: Path) -> None:
    first = [run_job(_job(source, *kind)).sha256 for kind in KINDS[:2]]
    assert first == [run_job(_job(source, *kind)).sha256 for kind in KINDS[:2]]
