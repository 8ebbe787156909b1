"""A run with the user's own `benchmark_model`: latencies of a recorded report, outputs of LiteRT itself."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from edgeconv.benchmarks.run import RunSettings, run_benchmark, write_record
from edgeconv.benchmarks.tool_agent import host_of
from edgeconv.bundles import load_bundle
from edgeconv.devices.probe import parse_findings
from edgeconv.errors import UsageError
from edgeconv.parity.verdict import check_parity
from edgeconv.records import read_record

STAND_IN = Path(__file__).parent / "benchmark_model"


@pytest.fixture
def binary(tmp_path):
    path = tmp_path / "tool/benchmark_model"
    path.parent.mkdir()
    script = (STAND_IN / "stand_in_benchmark_model.py").read_text(encoding="utf-8")
    path.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
    path.chmod(0o755)
    shutil.copyfile(STAND_IN / "samples/chromebook-cpu.log", path.parent / "report.log")
    (path.parent / "stand_in.json").write_text(json.dumps({}))
    return path


def test_the_litert_artefacts_are_measured_once_each_with_a_summary_and_no_samples(tiny_bundle, binary, tmp_path):
    events = []
    run = run_benchmark(load_bundle(tiny_bundle), benchmark_model=binary, settings=RunSettings(), events=events.append)
    assert [(r.runtime, r.precision) for r in run.results] == [("litert", "int8"), ("litert", "fp32")]
    for result in run.results:
        assert result.latency_ns.samples == []
        assert result.latency_ns.p50 is None
        assert result.latency_ns.summary.tool
        assert result.latency_ns.summary.mean_ns > 0
        assert result.attempts == 1
        assert result.drift is not None
    assert run.settings["rounds"] == 1
    assert run.host.machine  # what a shell on the target tells
    assert run.host.cpus >= 1
    assert run.host.memory_bytes > 1e8
    assert run.host.python == "not used"
    assert {event["phase"] for event in events} == {"benchmark_model"}
    assert not any("outputs" in failure for failure in check_parity(run).failures)
    write_record(run, tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == run


def test_a_shell_that_tells_nothing_gives_a_host_of_unknowns():
    host = host_of(parse_findings(""), None)
    assert (host.cpu_model, host.memory_bytes, host.libc, host.emulated) == (None, None, None, False)


def test_artefacts_of_other_runtimes_are_not_for_it(tiny_bundle, binary):
    with pytest.raises(UsageError, match="benchmark_model runs litert"):
        run_benchmark(load_bundle(tiny_bundle), runtimes=["onnxruntime"], benchmark_model=binary)
