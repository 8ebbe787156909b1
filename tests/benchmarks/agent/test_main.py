"""The agent as a user runs it by hand, from the bundle, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgeconv.benchmarks.agent.tune import TuningOutcome
from edgeconv.records import Result
from edgeconv.schema import from_dict

QUICK = ["--min-seconds", "0.05", "--min-count", "7", "--extra-seconds", "0.5", "--warmup-seconds", "0"]


def agent(bundle, *arguments, prefix=(), home=None):
    command = [*prefix, sys.executable, str(bundle / "agent.pyz"), *arguments]
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    if home is not None:
        environment["HOME"] = str(home)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd="/")


def run(bundle, runtime, precision, *arguments, **options):
    return agent(bundle, "run", "--runtime", runtime, "--precision", precision, *QUICK, *arguments, **options)


def error_of(done):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stderr.strip().splitlines()[-1])


def test_run_by_hand_prints_a_result(tiny_bundle):
    done = run(tiny_bundle, "onnxruntime", "fp32")
    assert done.returncode == 0, done.stderr
    result = from_dict(Result, json.loads(done.stdout))
    assert len(result.latency_ns.samples) >= 7
    assert result.latency_ns.p50 > 0
    assert result.drift is None
    assert result.provider == "CPUExecutionProvider"
    assert 0 < result.memory.baseline_rss_bytes < result.memory.peak_rss_bytes
    assert min(result.import_ns, result.load_ns, result.first_inference_ns) > 0


def test_run_writes_result_and_outputs_in_the_shape_of_the_port(tiny_bundle, tmp_path):
    done = run(tiny_bundle, "litert", "int8", "--json", str(tmp_path / "r.json"), "--outputs", str(tmp_path / "o.npz"))
    assert done.returncode == 0, done.stderr
    assert from_dict(Result, json.loads((tmp_path / "r.json").read_text())).runtime == "litert"
    golden, outputs = np.load(tiny_bundle / "golden/cases.npz"), np.load(tmp_path / "o.npz")
    assert outputs.files == ["y"]
    assert outputs["y"].shape == golden["qdq.y"].shape
    assert outputs["y"].dtype == np.float32
    np.testing.assert_allclose(outputs["y"], golden["qdq.y"], atol=0.02)  # a step of the output's quantiser
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["o.npz", "r.json"]


def test_run_tells_how_it_goes_in_lines_of_json(tiny_bundle, tmp_path):
    arguments = ("--json", str(tmp_path / "r.json"), "--min-seconds", "2.5", "--tolerance", "9")
    done = run(tiny_bundle, "onnxruntime", "fp32", *arguments)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    phases = [line["phase"] for line in lines]
    assert phases == sorted(phases, key=["load", "warm-up", "timed", "check"].index)
    timed = [line for line in lines if line["phase"] == "timed"]
    assert 1 <= len(timed) <= 5  # about one a second, of two and a half
    assert all(line["samples"] > 0 and line["p50_ns"] > 0 for line in timed)


def test_a_result_says_what_ran_and_in_what_state_the_device_was(tiny_bundle):
    result = from_dict(Result, json.loads(run(tiny_bundle, "litert", "int8").stdout))
    assert (result.execution.requested, result.execution.share) == ("XNNPACK", 1.0)
    assert result.state.affinity
    assert result.state.samples
    assert result.memory.baseline_rss_bytes < result.memory.load_peak_rss_bytes <= result.memory.peak_rss_bytes
    assert result.memory.mapped_model_bytes > 0
    assert result.latency_ns.rounds == [len(result.latency_ns.samples)]
    assert set(result.latency_ns.intervals) >= {"p50"}
    assert (result.mode, result.options) == ("steady", {})


def test_options_reach_the_runtime_and_the_result(tiny_bundle):
    done = run(tiny_bundle, "litert", "int8", "--option", "xnnpack=off")
    result = from_dict(Result, json.loads(done.stdout))
    assert result.options == {"xnnpack": "off"}
    assert result.provider == result.execution.used == "built-in kernels"


@pytest.mark.parametrize("option", ["xnnpack", "xnnpack=", "=off"])
def test_an_option_without_name_or_value_is_refused(option, tiny_bundle):
    assert "NAME=VALUE" in error_of(run(tiny_bundle, "litert", "int8", "--option", option))["error"]


def test_an_option_that_the_runtime_does_not_have_here_is_refused(tiny_bundle):
    told = error_of(run(tiny_bundle, "onnxruntime", "fp32", "--option", "provider=dml"))
    assert "cannot have provider=dml here" in told["error"]
    assert "cpu" in told["hint"]


def test_a_burst_is_a_mode_of_its_own(tiny_bundle):
    arguments = ("--mode", "burst", "--burst-count", "4", "--idle-seconds", "0.01")
    result = from_dict(Result, json.loads(run(tiny_bundle, "onnxruntime", "fp32", *arguments).stdout))
    assert result.mode == "burst"
    assert len(result.latency_ns.samples) % 4 == 0
    assert "first of a burst" in result.evidence


def test_a_sustained_run_shows_its_first_and_last_part(tiny_bundle):
    arguments = ("--mode", "sustained", "--min-seconds", "0.3")
    result = from_dict(Result, json.loads(run(tiny_bundle, "onnxruntime", "fp32", *arguments).stdout))
    assert result.mode == "sustained"
    assert any(name.startswith("last ") for name in result.evidence)
    assert sum(result.latency_ns.samples) > 0.2e9


def board_at(tmp_path, millidegrees):
    zone = tmp_path / "board/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text(f"{millidegrees}\n")
    return tmp_path / "board"


COOL = ("--cool-down-celsius", "50", "--cool-down-seconds", "0.2")


def test_a_cool_board_is_measured_at_once_and_the_wait_is_recorded(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECONV_SYSROOT", str(board_at(tmp_path, 41000)))
    result = from_dict(Result, json.loads(run(tiny_bundle, "onnxruntime", "fp32", *COOL).stdout))
    assert result.evidence["cool-down"] == "waited 0 s for less than 50.0 °C, then had 41.0 °C"
    assert not any("cool enough" in reason for reason in result.invalid_reasons)


def test_a_board_that_stays_hot_is_measured_and_invalid(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECONV_SYSROOT", str(board_at(tmp_path, 83000)))
    result = from_dict(Result, json.loads(run(tiny_bundle, "onnxruntime", "fp32", *COOL).stdout))
    assert not result.valid
    assert any("83.0 °C" in reason for reason in result.invalid_reasons)
    assert result.latency_ns.samples


def test_a_cool_down_without_a_sensor_is_an_error(tiny_bundle, tmp_path, monkeypatch):
    (tmp_path / "board/sys").mkdir(parents=True)
    monkeypatch.setenv("EDGECONV_SYSROOT", str(tmp_path / "board"))
    assert "no temperature" in error_of(run(tiny_bundle, "onnxruntime", "fp32", *COOL))["error"]


def test_tune_writes_trials_finalists_and_their_outputs(tiny_bundle, tmp_path):
    paths = ("--json", str(tmp_path / "t.json"), "--outputs", str(tmp_path / "o.npz"))
    done = agent(tiny_bundle, "tune", "--runtime", "litert", "--precision", "int8", "--seconds", "0.3", *paths)
    assert done.returncode == 0, done.stderr
    outcome = from_dict(TuningOutcome, json.loads((tmp_path / "t.json").read_text()))
    assert outcome.default == {"threads": "1"}
    assert outcome.default in [finalist.options for finalist in outcome.finalists]
    assert {trial.rung for trial in outcome.trials} == set(range(max(t.rung for t in outcome.trials) + 1))
    assert {"threads": "1", "xnnpack": "off"} in [trial.options for trial in outcome.trials]
    golden, outputs = np.load(tiny_bundle / "golden/cases.npz"), np.load(tmp_path / "o.npz")
    assert outputs.files == [f"{place}.y" for place in range(len(outcome.finalists))]
    assert all(outputs[name].shape == golden["qdq.y"].shape for name in outputs.files)


def test_tuning_needs_time(tiny_bundle):
    done = agent(tiny_bundle, "tune", "--runtime", "litert", "--precision", "int8", "--seconds", "0")
    assert "0 seconds" in error_of(done)["error"]


@pytest.mark.parametrize("name", ["models/model.fp32.onnx", "golden/cases.npz"])
def test_a_changed_file_is_refused_before_it_is_used(name, tiny_bundle):
    data = bytearray((tiny_bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tiny_bundle / name).write_bytes(bytes(data))
    assert name in error_of(run(tiny_bundle, "onnxruntime", "fp32"))["error"]


def test_a_missing_companion_is_refused(tiny_bundle):
    (tiny_bundle / "models/model.fp32.bin").unlink()
    assert "models/model.fp32.bin is missing" in error_of(run(tiny_bundle, "openvino", "fp32"))["error"]


def test_a_manifest_path_that_leaves_the_bundle_is_refused(tiny_bundle):
    outside = tiny_bundle.parent / "model.fp32.onnx"
    shutil.move(tiny_bundle / "models/model.fp32.onnx", outside)
    manifest = tiny_bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace("models/model.fp32.onnx", "../model.fp32.onnx"))
    assert "../model.fp32.onnx" in error_of(run(tiny_bundle, "onnxruntime", "fp32"))["error"]


@pytest.mark.parametrize(
    ("runtime", "precision", "words"),
    [
        ("onnxruntime", "fp16", "no onnxruntime fp16 artefact"),
        ("onyx", "fp32", "no onyx fp32 artefact"),
    ],
)
def test_what_the_bundle_does_not_hold_is_told_with_what_it_holds(runtime, precision, words, tiny_bundle):
    told = error_of(run(tiny_bundle, runtime, precision))
    assert words in told["error"]
    assert "litert int8" in told["hint"]


def test_a_runtime_that_is_not_installed_says_how_to_install_it(tiny_bundle):
    manifest = tiny_bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"runtime": "litert"', '"runtime": "tflite_runtime"'))
    if importlib.util.find_spec("tflite_runtime"):
        pytest.skip("tflite_runtime is installed here")
    assert "pip install tflite-runtime" in error_of(run(tiny_bundle, "tflite_runtime", "int8"))["hint"]


def test_a_place_that_cannot_be_written_is_an_error(tiny_bundle, tmp_path):
    told = error_of(run(tiny_bundle, "onnxruntime", "fp32", "--json", str(tmp_path / "no/such/r.json")))
    assert "cannot be written" in told["error"]


@pytest.mark.parametrize("arguments", [(), ("run",), ("run", "--runtime", "litert"), ("walk",)])
def test_wrong_usage_exits_with_2(arguments, tiny_bundle):
    done = agent(tiny_bundle, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_threads_must_be_positive(tiny_bundle):
    assert "0 threads" in error_of(run(tiny_bundle, "onnxruntime", "fp32", "--threads", "0"))["error"]


_COUNTERS = "cat /proc/net/snmp /proc/net/snmp6"


def _attempts(text):
    """Packets that the processes of a network namespace have tried to send, with or without a route."""
    lines = text.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Ip: "))
    counters = dict(zip(names, map(int, values), strict=True))
    counters.update((line.split()[0], int(line.split()[1])) for line in lines if line.startswith("Ip6"))
    wanted = ("OutRequests", "OutNoRoutes", "Ip6OutRequests", "Ip6OutNoRoutes")
    return sum(counters[name] for name in wanted)


def _namespace_works():
    if shutil.which("unshare") is None:
        return False
    lookup = (
        f'{sys.executable} -c \'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))\''
    )
    command = ["unshare", "-rn", "sh", "-c", f"{lookup}; {_COUNTERS}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and _attempts(done.stdout) > 0


@pytest.mark.skipif(not _namespace_works(), reason="no unprivileged network namespaces here")
@pytest.mark.parametrize(("runtime", "precision"), [("onnxruntime", "fp32"), ("litert", "int8"), ("openvino", "int8")])
def test_no_runtime_tries_to_reach_the_network(runtime, precision, tiny_bundle, tmp_path):
    prefix = ("unshare", "-rn", "sh", "-c", f'"$@"; code=$?; {_COUNTERS} > {tmp_path}/counters; exit $code', "sh")
    done = run(tiny_bundle, runtime, precision, prefix=prefix, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert _attempts((tmp_path / "counters").read_text()) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"tiny-host", "counters"}  # no device ID left in the home
