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
    assert done.stdout == ""
    assert from_dict(Result, json.loads((tmp_path / "r.json").read_text())).runtime == "litert"
    golden, outputs = np.load(tiny_bundle / "golden/cases.npz"), np.load(tmp_path / "o.npz")
    assert outputs.files == ["y"]
    assert outputs["y"].shape == golden["qdq.y"].shape
    assert outputs["y"].dtype == np.float32
    np.testing.assert_allclose(outputs["y"], golden["qdq.y"], atol=0.02)  # a step of the output's quantiser
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["o.npz", "r.json"]


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
