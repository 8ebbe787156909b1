"""Computing a graph as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.graph import to_bytes
from edgeconv.runtimes.onnxruntime import import_onnxruntime

__all__ = ["Tensors", "evaluate"]

Tensors = dict[str, np.ndarray[Any, Any]]
"""Arrays by the name of the value they belong to."""


def evaluate(model: ir.Model, inputs: Sequence[Mapping[str, np.ndarray[Any, Any]]]) -> list[Tensors]:
    """Run a graph with ONNX Runtime, its graph optimisations off.

    Args:
        model: a graph whose operators ONNX Runtime knows.
        inputs: for each run, one array for each graph input.

    Returns:
        For each run, one array for each graph output.

    Raises:
        ExportError: ONNX Runtime refuses the graph or the inputs.
    """
    onnxruntime = import_onnxruntime()
    failures = onnxruntime.capi.onnxruntime_pybind11_state
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return [dict(zip(names, session.run(names, dict(arrays)), strict=True)) for arrays in inputs]
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        raise ExportError(f"ONNX Runtime cannot run the graph: {error}") from error
