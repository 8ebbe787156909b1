"""Wheels and packs on emulated boards, over real OpenSSH and the real adb: what a bundle brings runs the models."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.bundles import Bundle, load_bundle
from edgeconv.devices.emulate.transport import open_guest
from edgeconv.devices.environment import prepare_python
from edgeconv.devices.profile import load_profile
from edgeconv.devices.transports import Transport
from edgeconv.export.bundle import write_bundle
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.wheels import make_supply
from edgeconv.manifest import read_manifest

pytestmark = pytest.mark.device

SECONDS = 300
RUNTIMES = ["litert", "onnxruntime"]
QUICK = ["--min-seconds", "0", "--extra-seconds", "0", "--min-count", "7", "--warmup-seconds", "0"]


@pytest.fixture
def bundle_for(tiny_bundle: Path, tmp_path: Path):
    """The tiny bundle with what a device of that profile needs."""

    def made(profile: str) -> Bundle:
        manifest = read_manifest(tiny_bundle)
        sources = {path: tiny_bundle / path for artifact in manifest.artifacts for path in artifact.paths}
        path = tmp_path / profile
        write_bundle(path, manifest, sources, golden(tiny_bundle), make_supply(load_profile(profile), RUNTIMES))
        return load_bundle(path)

    return made


def golden(bundle: Path) -> GoldenArrays:
    with np.load(load_bundle(bundle).golden) as arrays:
        return dict(arrays)


def run(transport: Transport, *command: str) -> str:
    done = transport.run(command, environment={}, timeout_seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measure(transport: Transport, python: list[str], directory: str, runtime: str) -> tuple[dict[str, Any], Any]:
    files = [f"{transport.workspace}/{runtime}.json", f"{transport.workspace}/{runtime}.npz"]
    what = ["--runtime", runtime, "--precision", "fp32", "--json", files[0], "--outputs", files[1], *QUICK]
    run(transport, *python, f"{directory}/agent.pyz", "run", *what)
    with np.load(io.BytesIO(transport.pull(files[1]))) as arrays:
        return json.loads(transport.pull(files[0])), arrays["y"]


def check(transport: Transport, bundle: Bundle) -> list[str]:
    """Every runtime of the bundle measures there, and computes what it computed here; the command of the Python."""
    directory = transport.push(bundle.directory)
    python = prepare_python(transport, bundle, directory)
    assert python[0].startswith(transport.folder)
    expected = golden(bundle.directory)["onnx.y"]
    for runtime in RUNTIMES:
        result, outputs = measure(transport, python, directory, runtime)
        assert len(result["latency_ns"]["samples"]) >= 7
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert prepare_python(transport, bundle, directory) == python
    return python


def test_a_pi_gets_its_wheels(pi5, bundle_for):
    transport = open_guest(pi5)
    try:
        python = check(transport, bundle_for("raspberry-pi-5"))
        assert "litert" in run(transport, *python, "-c", "import ai_edge_litert; print(ai_edge_litert.__file__)")
        system = transport.run([*transport.python, "-c", "import numpy"], environment={}, timeout_seconds=SECONDS)
        assert system.returncode != 0  # nothing was installed into the board's own Python
    finally:
        transport.clean()
        transport.close()


def test_an_android_gets_a_python_that_can_start_itself_again(android, bundle_for):
    transport = open_guest(android)
    try:
        assert transport.python == []
        python = check(transport, bundle_for("android-arm64"))
        again = (
            "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', 'print(6 * 7)']).decode())"
        )
        assert run(transport, *python, "-c", again).split() == ["42"]
        where = "import os, tempfile; print(os.environ['ORT_DISABLE_TELEMETRY'], tempfile.gettempdir())"
        off, temporary = run(transport, *python, "-c", where).split()
        assert off == "1"
        assert temporary.startswith(transport.folder)
    finally:
        transport.clean()
        transport.close()
