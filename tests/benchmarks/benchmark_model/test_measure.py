"""From end to end on this machine: the outputs are LiteRT's own, the latencies those of the recorded report."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.benchmark_model import measure, measure_with_benchmark_model
from edgeconv.benchmarks.judging import Judge
from edgeconv.bundles import Bundle, load_bundle
from edgeconv.devices.transports.local import LocalTransport
from edgeconv.errors import UsageError
from edgeconv.records import Result
from edgeconv.schema import from_dict, to_dict

SAMPLES = Path(__file__).parent / "samples"
QUICK = LatencyProtocol(min_seconds=0.1, extra_seconds=0.0, warmup_seconds=0.0)


@pytest.fixture
def transport() -> Iterator[LocalTransport]:
    with closing(LocalTransport()) as opened:
        yield opened


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "tool" / "benchmark_model"
    path.parent.mkdir()
    script = (Path(__file__).parent / "stand_in_benchmark_model.py").read_text(encoding="utf-8")
    path.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
    path.chmod(0o755)
    shutil.copyfile(SAMPLES / "chromebook-cpu.log", path.parent / "report.log")
    _trouble(path)
    return path


def _trouble(binary: Path, **what: Any) -> None:
    (binary.parent / "stand_in.json").write_text(json.dumps(what), encoding="utf-8")


def _calls(binary: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (binary.parent / "calls.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_summary_is_the_tools_and_the_outputs_are_judged(
    transport: LocalTransport, bundle: Bundle, binary: Path, precision: str
) -> None:
    artifact = bundle.manifest.artifact("litert", precision)
    result, outputs = measure_with_benchmark_model(transport, binary, bundle, artifact, 2)
    assert result.valid, result.invalid_reasons
    assert from_dict(Result, to_dict(result)) == result
    latency = result.latency_ns
    assert latency.summary is not None
    assert latency.summary.mean_ns == 56265800
    assert (latency.samples, latency.p50, latency.p90, latency.p99) == ([], None, None, None)
    assert (result.load_ns, result.first_inference_ns) == (3337000, 81913000)
    assert result.memory.peak_rss_bytes is None
    assert result.execution is not None
    assert result.execution.operators == {"TfLiteXNNPackDelegate": 58}
    drift = Judge(bundle).complete(result, outputs, artifact).drift
    assert drift is not None
    assert drift.total.sqnr_db is not None
    assert drift.total.sqnr_db > (80 if precision == "fp32" else 25)
    assert _calls(binary)[0]["num_threads"] == "2"
    assert len(_calls(binary)) == 1 + len(outputs["y"])


def test_the_growth_of_memory_is_named_as_such(transport: LocalTransport, bundle: Bundle, binary: Path) -> None:
    with (binary.parent / "report.log").open("a", encoding="utf-8") as stream:
        stream.write((SAMPLES / "desktop-memory.log").read_text(encoding="utf-8"))
    result, _ = measure_with_benchmark_model(transport, binary, bundle, bundle.manifest.artifact("litert", "fp32"), 1)
    assert result.evidence["memory growth"] == "8.7 MB, 2.4 MB by loading"
    assert "grew" in result.memory.method


def test_a_delegate_that_did_not_run_is_invalid(transport: LocalTransport, bundle: Bundle, binary: Path) -> None:
    artifact = bundle.manifest.artifact("litert", "fp32")
    result, _ = measure_with_benchmark_model(transport, binary, bundle, artifact, 1, options={"use_gpu": "true"})
    assert result.invalid_reasons == ["gpu was asked for and TfLiteXNNPackDelegate ran"]
    shutil.copyfile(SAMPLES / "chromebook-gpu.log", binary.parent / "report.log")
    result, _ = measure_with_benchmark_model(transport, binary, bundle, artifact, 1, options={"use_gpu": "true"})
    assert result.valid
    assert result.options == {"use_gpu": "true"}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (
            {"exit": 1, "text": "ERROR: Failed to load the model.\nERROR: Benchmarking failed."},
            "Failed to load the model",
        ),
        ({"exit": 0, "text": "hello"}, "no benchmark_model, or it was cut off: hello"),
        ({"kill": True}, "killed by signal 9"),
        ({"sleep": 600}, "took longer"),
        ({"silent outputs": True}, "--output_filepath"),
    ],
)
def test_a_tool_that_fails_is_a_result_with_its_reason(
    transport: LocalTransport,
    bundle: Bundle,
    binary: Path,
    trouble: dict[str, Any],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _trouble(binary, **trouble)
    if "sleep" in trouble:
        monkeypatch.setattr(measure, "_OVERHEAD_SECONDS", 0.5)
    result, outputs = measure_with_benchmark_model(
        transport, binary, bundle, bundle.manifest.artifact("litert", "fp32"), 1, QUICK
    )
    assert not result.valid
    assert reason in result.invalid_reasons[0]
    assert outputs == {}


def test_what_the_target_cannot_start_is_refused(transport: LocalTransport, bundle: Bundle, tmp_path: Path) -> None:
    artifact = bundle.manifest.artifact("litert", "fp32")
    foreign = b"\x7fELF\x02\x01\x01" + bytes(11) + np.array([0xF3], "<u2").tobytes()  # RISC-V
    for content, words in ((foreign, "is for machine 243"), (b"PK\x03\x04", "archive")):
        path = tmp_path / "benchmark_model"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=words):
            measure_with_benchmark_model(transport, path, bundle, artifact, 1)
    with pytest.raises(UsageError, match="cannot be read"):
        measure_with_benchmark_model(transport, tmp_path / "missing", bundle, artifact, 1)


def test_another_runtimes_artefact_is_refused(transport: LocalTransport, bundle: Bundle, binary: Path) -> None:
    with pytest.raises(UsageError, match="onnxruntime"):
        measure_with_benchmark_model(transport, binary, bundle, bundle.manifest.artifact("onnxruntime", "int8"), 1)
