"""`measure_tensorrt` from end to end against the replayer; TensorRT itself was never run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.agent.tools import TOOLS
from edgeconv.benchmarks.agent.trtexec import engine, tool
from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.manifest import read_manifest
from edgeconv.records import Result
from edgeconv.schema import from_dict, to_dict

PROTOCOL = LatencyProtocol(min_seconds=0.1, min_count=7, extra_seconds=0.0, warmup_seconds=0.0)


def _measure(
    bundle: Path, precision: str = "int8", protocol: LatencyProtocol = PROTOCOL
) -> tuple[Result, dict[str, Any]]:
    manifest = read_manifest(bundle)
    return TOOLS["tensorrt"].measure(bundle, manifest, manifest.artifact("tensorrt", precision), 1, protocol)


def test_a_result_is_what_trtexec_told(bundle: Path, replayer: Any) -> None:
    result, outputs = _measure(bundle)
    assert from_dict(Result, to_dict(result)) == result
    latency = result.latency_ns
    assert len(latency.samples) == 24
    assert latency.p50 == 444528  # the middle of the recorded 444.512 and 444.544 us
    assert latency.p90 is None  # 24 queries do not bound it
    assert result.memory.peak_rss_bytes is None
    assert result.execution is not None
    assert result.execution.requested == result.execution.used == "TensorRT int8"
    assert result.execution.operators == {"int8": 4}
    assert result.execution.share == 1
    assert result.evidence["version"] == "10.3.0"
    assert result.evidence["device"] == "Orin"
    assert result.evidence["compute capability"] == "8.7"
    assert result.evidence["engine"].startswith("built in ")
    assert {name: array.shape for name, array in outputs.items()} == {
        "probs_phone": (2, 1, 5),
        "probs_headset": (2, 1, 3),
        "probs_gaze": (2, 1, 5),
    }
    assert outputs["probs_gaze"][1, 0, 4] == np.float32(0.961798)


def test_the_bundles_own_agent_measures_it(bundle: Path, replayer: Any, tmp_path: Path) -> None:
    result, outputs = tmp_path / "result.json", tmp_path / "outputs.npz"
    asked = ["--runtime=tensorrt", "--precision=int8", "--min-seconds=0.1", "--min-count=7", "--extra-seconds=0"]
    command = [sys.executable, str(bundle / "agent.pyz"), "run", *asked, f"--json={result}", f"--outputs={outputs}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["phase"] for line in done.stdout.splitlines()] == ["build", "timed", "check"]
    assert from_dict(Result, json.loads(result.read_text())).latency_ns.p50 == 444528
    with np.load(outputs) as arrays:
        assert sorted(arrays.files) == ["probs_gaze", "probs_headset", "probs_phone"]


def test_the_engine_is_built_once(bundle: Path, replayer: Any) -> None:
    _measure(bundle)
    result, _ = _measure(bundle)
    assert result.evidence["engine"].startswith("cached, built in ")
    builds = [call for call in replayer.calls if any(word.startswith("--saveEngine") for word in call)]
    assert len(builds) == 1
    _measure(bundle, "fp16")
    replayer.play("v110100")
    _measure(bundle, "fp16")
    builds = [call for call in replayer.calls if any(word.startswith("--saveEngine") for word in call)]
    assert ["--fp16" in call for call in builds] == [False, True, False]  # another precision, another TensorRT


@pytest.mark.parametrize(
    ("banner", "precision"),
    [("v8205", "int8"), ("v8502", "fp16"), ("v100300", "fp32"), ("v110100", "int8"), ("v110100", "fp16")],
)
def test_every_version_is_asked_only_what_it_knows(bundle: Path, replayer: Any, banner: str, precision: str) -> None:
    replayer.play(banner)
    result, _ = _measure(bundle, precision)
    assert len(result.latency_ns.samples) == 24


def test_an_int8_engine_without_int8_layers_is_invalid(bundle: Path, replayer: Any) -> None:
    result, _ = _measure(bundle, "fp16")
    assert not result.valid
    assert "fp16 was asked for and no layer with weights runs in it" in result.invalid_reasons
    assert result.execution is not None
    assert result.execution.used == "TensorRT int8"


def test_an_engine_of_another_gpu_is_built_anew(bundle: Path, replayer: Any) -> None:
    _measure(bundle)
    (facts,) = Path(os.environ["XDG_CACHE_HOME"]).glob("edgeconv/engines/*.json")
    facts.write_text(facts.read_text().replace('"Orin"', '"Xavier"'), encoding="utf-8")
    result, _ = _measure(bundle)
    assert result.evidence["engine"].startswith("built in ")


def test_a_cached_engine_that_does_not_load_is_built_anew(bundle: Path, replayer: Any) -> None:
    _measure(bundle)
    replayer.play(refuse="deserialization.log")
    result, _ = _measure(bundle)
    assert result.evidence["engine"].startswith("built in ")
    (replayer.folder / "refused").unlink()
    for path in Path(os.environ["XDG_CACHE_HOME"]).glob("edgeconv/engines/*"):
        path.unlink()
    with pytest.raises(RuntimeUnavailableError, match="Version tag does not match"):
        _measure(bundle)  # a new engine that does not load is not tried for ever


def test_a_damaged_cache_is_no_engine(bundle: Path, replayer: Any) -> None:
    _measure(bundle)
    for path in Path(os.environ["XDG_CACHE_HOME"]).glob("edgeconv/engines/*.json"):
        path.write_text("{", encoding="utf-8")
    assert _measure(bundle)[0].evidence["engine"].startswith("built in ")


def test_a_refused_model_is_told_in_tensorrts_words(bundle: Path, replayer: Any) -> None:
    replayer.play(fail="int32-bias.log")
    with pytest.raises(RuntimeUnavailableError, match="only activation types allowed"):
        _measure(bundle)
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).glob("edgeconv/engines/*"))


def test_a_killed_build_is_told(bundle: Path, replayer: Any) -> None:
    replayer.play(kill="SIGKILL")
    with pytest.raises(RuntimeUnavailableError, match=r"killed by signal 9.*memory"):
        _measure(bundle)


def test_a_hanging_build_is_ended(bundle: Path, replayer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replayer.play(sleep=600)
    monkeypatch.setattr(engine, "BUILD_SECONDS", 0.5)
    with pytest.raises(RuntimeUnavailableError, match="took longer"):
        _measure(bundle)


def test_an_unknown_version_is_refused(bundle: Path, replayer: Any) -> None:
    replayer.play("v9300")
    with pytest.raises(RuntimeUnavailableError, match=r"TensorRT 9\.3\.0"):
        _measure(bundle)


def test_a_tool_that_is_no_trtexec_is_refused(bundle: Path, replayer: Any) -> None:
    (replayer.folder / "trtexec").write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
    with pytest.raises(RuntimeUnavailableError, match="hello"):
        _measure(bundle)


def test_without_trtexec_it_says_what_to_install(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tool, "_PLACES", ())
    with pytest.raises(RuntimeUnavailableError, match="libnvinfer-bin"):
        _measure(bundle)


def test_bursts_are_refused(bundle: Path, replayer: Any) -> None:
    with pytest.raises(UsageError, match="burst"):
        _measure(bundle, protocol=LatencyProtocol(mode="burst"))
