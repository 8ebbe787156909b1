"""The converters compared with ours, and how one of them is run: in a fresh process of its own environment."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from environments import MAIN
from results import Conversion

__all__ = ["PEERS", "Peer", "run_cold", "run_peer"]

_HERE = Path(__file__).resolve().parent
_TIMEOUT_S = 1800
# No peer sends anything, looks for a GPU or for a model on a hub.
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "NNCF_CI": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


@dataclasses.dataclass(frozen=True)
class Peer:
    """A converter to int8: `script MATERIAL OUTPUT options…` in `environment`; `suffix` is that of what it writes."""

    name: str
    environment: str
    script: str
    runtime: str
    suffix: str
    options: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """Of its artefact."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()) + self.suffix


PEERS = (
    Peer("onnx2tf", "onnx2tf", "peer_onnx2tf.py", "litert", ".tflite"),
    Peer("litert-torch + ai-edge-quantizer", "litert_torch", "peer_litert_torch.py", "litert", ".tflite"),
    Peer("ORT static", MAIN, "peer_ort.py", "onnxruntime", ".onnx"),
    Peer("ORT static, per channel", MAIN, "peer_ort.py", "onnxruntime", ".onnx", ("per-channel",)),
    Peer("ORT static, per channel, uint8", MAIN, "peer_ort.py", "onnxruntime", ".onnx", ("per-channel", "uint8")),
    Peer("ORT static, percentile", MAIN, "peer_ort.py", "onnxruntime", ".onnx", ("per-channel", "percentile")),
    Peer(
        "ORT static, percentile, uint8",
        MAIN,
        "peer_ort.py",
        "onnxruntime",
        ".onnx",
        ("per-channel", "percentile", "uint8"),
    ),
    Peer("NNCF on ONNX, mixed", "nncf", "peer_nncf.py", "onnxruntime", ".onnx", ("mixed",)),
    Peer("NNCF", "nncf", "peer_nncf.py", "openvino", ".xml"),
    Peer("NNCF, mixed", "nncf", "peer_nncf.py", "openvino", ".xml", ("mixed",)),
)


def run_peer(peer: Peer, python: Path, material: Path, output: Path) -> Conversion:
    """Let `peer` write `output`; what goes wrong is a row with its reason."""
    command = [str(python), str(_HERE / peer.script), str(material), str(output), *peer.options]
    conversion = run_cold(peer.name, f"{peer.runtime} int8", command, output.with_suffix(".log"))
    if conversion.failure is None and not output.is_file():
        return dataclasses.replace(conversion, failure=f"it wrote no {output.name}")
    return conversion


def run_cold(converter: str, makes: str, command: Sequence[str], log: Path) -> Conversion:
    """Run and time a converter in a fresh process; its words go to `log`."""
    start, cpu_start = time.perf_counter(), _cpu_seconds_of_children()
    environment = {**os.environ, **_QUIET}
    with log.open("w") as words:
        try:
            child = subprocess.run(
                command, stdout=words, stderr=subprocess.STDOUT, env=environment, timeout=_TIMEOUT_S, check=False
            )
            failure = f"exit code {child.returncode}" if child.returncode else None
        except subprocess.TimeoutExpired:
            failure = f"ended after {_TIMEOUT_S} s"
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds_of_children() - cpu_start
    if failure is not None:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        failure = f"{failure}: {lines[-1]}" if lines else failure
    return Conversion(converter, makes, seconds, cpu_seconds, failure)


def _cpu_seconds_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
