"""A bundle with TensorRT artefacts, and a `trtexec` that replays what was recorded elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.export.bundle import bare_manifest, place_artifact, write_bundle
from edgeconv.files import sha256_file
from edgeconv.manifest import Artifact, Port, TensorSpec

SAMPLES = Path(__file__).parent / "samples"
CASES = 2
_HEADS = {"probs_phone": 5, "probs_headset": 3, "probs_gaze": 5}  # of three-heads.outputs.json
_FILES = {
    "--exportTimes": "mobilenet.times.json",
    "--exportProfile": "mobilenet.profile.json",
    "--exportLayerInfo": "mobilenet.layers.json",
    "--exportOutput": "three-heads.outputs.json",
}


class Replayer:
    """The replayer's folder, first on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SAMPLES, folder, dirs_exist_ok=True)
        script = (Path(__file__).parent / "replay_trtexec.py").read_text(encoding="utf-8")
        path = folder / "trtexec"
        path.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
        path.chmod(0o755)
        self.play()

    def play(self, banner: str = "v100300", **answers: Any) -> None:
        document = {"banner": banner, "logs": ["orin-10.16-device.log", "desktop-10.log"], "files": _FILES, **answers}
        (self.folder / "replay.json").write_text(json.dumps(document), encoding="utf-8")

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.fixture
def replayer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replayer:
    folder = tmp_path / "replayer"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Replayer(folder)


@pytest.fixture
def sample() -> Callable[[str], str]:
    return lambda name: (SAMPLES / name).read_text(encoding="utf-8")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Artefacts whose bytes no replayer looks at, with the ports of the recorded outputs."""
    files = tmp_path / "files"
    files.mkdir()
    artifacts = []
    for precision in ("int8", "fp16", "fp32"):
        path = files / f"model.{precision}.tensorrt.onnx"
        path.write_bytes(f"{precision} model".encode())
        artifacts.append(
            place_artifact(
                Artifact(
                    path.name,
                    sha256_file(path),
                    path.stat().st_size,
                    "tensorrt",
                    precision,
                    [TensorSpec("x", "images:0", [1, 3, 4, 4], "NCHW", "float32")],
                    [TensorSpec(name, name, [1, size], "as-is", "float32") for name, size in _HEADS.items()],
                    reference="qdq-symmetric",
                )
            )
        )
    golden = {"input.x": np.random.default_rng(0).normal(0, 1, (CASES, 1, 3, 4, 4)).astype(np.float32)}
    golden |= {f"torch.{name}": np.zeros((CASES, 1, size), np.float32) for name, size in _HEADS.items()}
    inputs = [Port("x", [1, 3, 4, 4], "float32", "NCHW")]
    outputs = [Port(name, [1, size], "float32", "as-is") for name, size in _HEADS.items()]
    manifest = bare_manifest("heads-orin", "tests", "jetson-orin-nano", inputs, outputs, artifacts)
    directory = tmp_path / "heads-orin"
    write_bundle(directory, manifest, {a.path: files / Path(a.path).name for a in artifacts}, golden)
    return directory
