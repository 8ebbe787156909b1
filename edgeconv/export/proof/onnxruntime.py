"""ONNX Runtime: the kernels that run, by the profile of one inference."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeconv.runtimes.base import refused
from edgeconv.runtimes.kernels import Kernels
from edgeconv.runtimes.onnxruntime import OnnxRuntime, import_onnxruntime, kernels_of

__all__ = ["read_kernels"]

_SIGNED_KEY = "session.qdqisint8allowed"  # the default of ARM builds; on x86 int8 activations are left unfused


def read_kernels(path: Path, activations: str, graph: ir.Model) -> Kernels | None:
    """See `Reader`; signed activations are for ARM, so they are fused as builds for ARM fuse them."""
    ort, runtime = import_onnxruntime(), OnnxRuntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if activations == "int8":
        options.add_session_config_entry(_SIGNED_KEY, "1")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="edgeconv-proof-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
            session.run(None, {port.name: np.zeros(port.shape, np.float32) for port in session.get_inputs()})
        except runtime.failures() as error:
            raise refused(runtime.name, path, error) from error
        return kernels_of(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))
