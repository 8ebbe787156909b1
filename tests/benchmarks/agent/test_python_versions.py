"""The agent as a bundle carries it, on every Python that it is for, with the wheels that a bundle would bring."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.install import LOCK_NAME, LockedWheel, WheelLock
from edgeconv.bundles import WHEELS_PATH
from edgeconv.export.wheels.platform import WheelPlatform
from edgeconv.export.wheels.resolve import resolve_wheels
from edgeconv.manifest import MANIFEST_NAME
from tests.pythons import VERSIONS, find_python

SECONDS = 300
REQUIREMENTS = {
    "onnxruntime": ["onnxruntime>=1.18"],
    "litert": ["ai-edge-litert>=1.0"],
    "tflite_runtime": ["tflite-runtime==2.14.*", "numpy<2"],
    "openvino": ["openvino>=2024.4"],
}
# Which of them has wheels for x86-64 and that Python.
RUNTIMES = {
    "3.8": ("onnxruntime", "tflite_runtime", "openvino"),
    "3.9": ("onnxruntime", "litert", "tflite_runtime", "openvino"),
    "3.10": ("onnxruntime", "litert", "tflite_runtime", "openvino"),
    "3.11": ("onnxruntime", "litert", "tflite_runtime", "openvino"),
    "3.12": ("onnxruntime", "litert", "openvino"),
    "3.13": ("onnxruntime", "litert", "openvino"),
}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)


def name_artifacts_after(bundle: Path, runtime: str) -> None:
    """tflite_runtime runs the files of litert."""
    if runtime == "tflite_runtime":
        path = bundle / MANIFEST_NAME
        path.write_text(path.read_text().replace('"runtime": "litert"', f'"runtime": "{runtime}"'))


def glibc() -> tuple[int, ...]:
    return tuple(int(part) for part in (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[1].split("."))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_agent_tells_what_machine_and_bundle_it_has(tiny_bundle: Path, version: str):
    python = find_python(version)
    host = run(python, tiny_bundle / "agent.pyz", "host")
    assert host.returncode == 0, host.stderr
    assert json.loads(host.stdout)["python"].startswith(f"{version}.")
    listed = run(python, tiny_bundle / "agent.pyz", "list")
    assert listed.returncode == 0, listed.stderr
    assert "litert int8" in listed.stdout


@pytest.mark.parametrize("version", ["3.6", "3.7"])
def test_an_older_python_is_told_what_to_do(tiny_bundle: Path, version: str):
    listed = run(find_python(version), tiny_bundle / "agent.pyz", "list")
    assert listed.returncode == 2
    told = json.loads(listed.stderr)
    assert told["error"] == f"The agent needs Python 3.8 or later, this is {version}."
    assert "--with-wheels" in told["hint"]


@pytest.mark.slow  # fetches wheels
@pytest.mark.parametrize(("version", "runtime"), [(v, r) for v, runtimes in RUNTIMES.items() for r in runtimes])
def test_the_agent_measures_with_the_wheels_of_a_bundle(tiny_bundle: Path, tmp_path: Path, version: str, runtime: str):
    python = find_python(version)
    name_artifacts_after(tiny_bundle, runtime)
    platform = WheelPlatform("this machine", os.uname().machine, version, glibc())
    wheels = resolve_wheels(platform, REQUIREMENTS[runtime])
    directory = tiny_bundle / WHEELS_PATH
    directory.mkdir()
    for wheel in wheels:
        (directory / wheel.path.name).symlink_to(wheel.path)
    locked = [LockedWheel(wheel.name, wheel.version, wheel.sha256, wheel.path.name) for wheel in wheels]
    (directory / LOCK_NAME).write_text(WheelLock(platform.machine, version, "2.17", locked).text())
    agent, environment = tiny_bundle / "agent.pyz", tmp_path / "environment"
    installed = run(python, agent, "install", "--into", environment)
    assert installed.returncode == 0, installed.stderr
    again = run(python, agent, "install", "--into", environment)
    assert again.stdout == installed.stdout
    for precision in ("fp32", "int8"):
        quick = ("--min-seconds", "0.2", "--extra-seconds", "0.5", "--min-count", "20", "--warmup-seconds", "0.1")
        result, outputs = tmp_path / f"{precision}.json", tmp_path / f"{precision}.npz"
        what = ("--runtime", runtime, "--precision", precision, "--json", result, "--outputs", outputs)
        done = run(installed.stdout.strip(), agent, "run", *what, *quick)
        assert done.returncode == 0, done.stderr
        record = json.loads(result.read_text())
        assert len(record["latency_ns"]["samples"]) >= 20
        assert not [reason for reason in record["invalid_reasons"] if "was asked for" in reason]
