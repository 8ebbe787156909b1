"""ONNX Runtime: the kernels that run, by the profile of one inference."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.export.proof.kernels import Kernels
from edgeconv.runtimes.base import refused
from edgeconv.runtimes.onnxruntime import OnnxRuntime, import_onnxruntime

__all__ = ["read_kernels"]

_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
_LAYOUT = ("Transpose", "ReorderInput", "ReorderOutput", "Reshape")
_INTEGERS = ("int8", "uint8")
_END = "_kernel_time"
# What optimisers add to the name of the node that a kernel was made of.
_ADDED = re.compile(r"(_token_\d+|_nchwc|/duplicated|_quant)*$")
_SIGNED_KEY = "session.qdqisint8allowed"  # the default of ARM builds; on x86 int8 activations are left unfused


def read_kernels(path: Path, activations: str, graph: ir.Model) -> Kernels:
    """See `Reader`; signed activations are for ARM, so they are fused as builds for ARM fuse them."""
    events = _profile(path, activations == "int8")
    kernels = [(_node(event["name"]), event["args"]) for event in events]
    computing = [(name, args) for name, args in kernels if args["op_name"] not in (*_QUANTISERS, *_LAYOUT)]
    integer = {name for name, args in computing if _reads_integers(args["input_type_shape"])}
    return Kernels(
        integer=frozenset(integer),
        floating=tuple(dict.fromkeys(name for name, _ in computing if name not in integer)),
        quantisers=tuple(name for name, args in kernels if args["op_name"] in _QUANTISERS),
        layout_changes=sum(args["op_name"] in _LAYOUT[:3] for _, args in kernels),
    )


def _profile(path: Path, signed: bool) -> list[dict[str, Any]]:
    ort, runtime = import_onnxruntime(), OnnxRuntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if signed:
        options.add_session_config_entry(_SIGNED_KEY, "1")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="edgeconv-proof-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
            session.run(None, {port.name: np.zeros(port.shape, np.float32) for port in session.get_inputs()})
        except runtime.failures() as error:
            raise refused(runtime.name, path, error) from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_END)]


def _node(event: str) -> str:
    return _ADDED.sub("", event.removesuffix(_END))


def _reads_integers(inputs: list[dict[str, Any]]) -> bool:
    return any(kind in _INTEGERS for types in inputs for kind in types)
