"""OpenVINO: the compiled model's own graph, with floats computed in f32 as the agent asks for it."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgeconv.runtimes.base import refused
from edgeconv.runtimes.kernels import Kernels
from edgeconv.runtimes.openvino import OpenVino

__all__ = ["read_kernels"]


def read_kernels(path: Path, activations: str, graph: ir.Model) -> Kernels:
    """See `Reader`; compiled for this machine's CPU."""
    runtime = OpenVino()
    try:
        return runtime.load(path, threads=1).kernels([])
    except runtime.failures() as error:
        raise refused(runtime.name, path, error) from error
